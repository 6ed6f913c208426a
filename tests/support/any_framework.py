"""A framework that runs tools by name, and the handlers that measure it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import metertap
from metertap import catalogue
from metertap.measuring.frameworks import Handlers
from metertap.outcomes import CALLER_ERROR, TOOL_ERROR, Ending

MODULE = "metertap_test_framework"


class NoSuchTool(Exception):
    """Raised by the framework, not by a tool."""


class Framework:
    """Runs what it is given by name."""

    tools: dict[str, Any]

    def run(self, name: Any, *args: Any) -> Any:
        return self.find(name)(*args)

    async def later(self, name: Any, *args: Any) -> Any:
        await asyncio.sleep(0)
        return self.find(name)(*args)

    def find(self, name: Any) -> Any:
        if name not in self.tools:
            raise NoSuchTool
        return self.tools[name]


class Named(Handlers):
    def __init__(self, source: str = "framework") -> None:
        self.source = source
        super().__init__()

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str | None:
        if args[0] is None:
            return None
        return args[0] if args[0] in instance.tools else catalogue.OTHER

    def returned(self, result: Any) -> Ending | None:
        return Ending(TOOL_ERROR, TOOL_ERROR) if result == ["failed"] else None

    def raising(self, error: BaseException) -> Ending:
        if isinstance(error, NoSuchTool):
            return Ending(CALLER_ERROR, "NoSuchTool")
        return super().raising(error)


def run(framework: Any, means: str, *args: Any) -> Any:
    result = getattr(framework, means)(*args)
    return asyncio.run(result) if means == "later" else result


def outcomes() -> dict[str, dict[str, int]]:
    tools = metertap.get_all_metrics()["tool_metrics"]
    assert all(tool["active_calls"] == 0 for tool in tools.values())
    return {
        name: {ended: calls for ended, calls in tool["outcomes"].items() if calls}
        for name, tool in tools.items()
        if tool["total_calls"]
    }


both = pytest.mark.parametrize("means", ["run", "later"])
