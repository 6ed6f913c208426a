"""Function tools of the OpenAI Agents SDK that fail in many ways, and what was counted of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("agents.run_internal", reason="openai-agents")

from agents import FunctionTool, function_tool

import metertap


def document() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()
    return found


def counted() -> dict[str, dict[str, int]]:
    """Outcomes that occurred, by tool."""
    return {
        name: {outcome: times for outcome, times in tool["outcomes"].items() if times}
        for name, tool in document()["tool_metrics"].items()
    }


def error_types(name: str) -> dict[str, int]:
    found: dict[str, int] = document()["tool_metrics"][name]["error_types"]
    return found


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Odd(Exception):
    pass


def raising(error: BaseException, **options: Any) -> FunctionTool:
    @function_tool(**options)
    async def breaks(number: int = 0) -> str:
        raise error

    return breaks


def raising_in_a_thread(error: BaseException, **options: Any) -> FunctionTool:
    @function_tool(**options)
    def breaks(number: int = 0) -> str:
        raise error

    return breaks


def waiting(**options: Any) -> FunctionTool:
    @function_tool(timeout=0.01, **options)
    async def breaks(number: int = 0) -> str:
        await asyncio.Event().wait()
        return "never"

    return breaks


FINE = '{"number": 1}'
