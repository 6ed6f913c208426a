"""LangChain tools that end in many ways, and what was counted of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metertap import Tap

pytest.importorskip("langchain_core.tools")
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool, tool
from pydantic import BaseModel, ValidationError

SECRET = "a secret of the caller"


def counted(tap: Tap, name: str) -> dict[str, int]:
    """How calls of a tool ended: only the outcomes that there were."""
    figures = tap.snapshot()["tool_metrics"].get(name)
    if figures is None:
        return {}
    assert figures["source"] == "langchain"
    assert figures["active_calls"] == 0
    return {ended: count for ended, count in figures["outcomes"].items() if count}


def called(name: str, **arguments: Any) -> dict[str, Any]:
    """A tool call as a model makes it."""
    return {"type": "tool_call", "name": name, "args": arguments, "id": "call-1"}


@tool  # type: ignore[untyped-decorator]
def double(number: int) -> int:
    """Double it."""
    return number * 2


class Data(BaseModel):
    """What a tool reads, and finds broken."""

    number: int


def raising(error: Callable[[], BaseException], **options: Any) -> Any:
    """A tool, sync and async, that raises."""

    def run(number: int = 1) -> str:
        raise error()

    async def arun(number: int = 1) -> str:
        raise error()

    return StructuredTool.from_function(run, arun, name="one", description="Raise.", **options)


def returning(answer: Any) -> Any:
    """A tool, sync and async, that returns something."""

    async def arun(number: int = 1) -> Any:
        return answer

    return StructuredTool.from_function(
        lambda number=1: answer, arun, name="one", description="Return."
    )


def broken_data() -> BaseException:
    with pytest.raises(ValidationError) as raised:
        Data.model_validate({"number": "many"})
    return raised.value


class GraphBubbleUp(Exception):
    """Named as LangGraph's is, which may be absent."""


class Interrupt(GraphBubbleUp):
    """As its kinds are: subclasses."""


FAILED = ToolMessage("no", tool_call_id="call-1", status="error")


VALIDATION = {"handle_validation_error": True}
