"""What holds for the tools of every framework, for functions that the program decorates."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import metertap
from kits.tool_kit import ToolKit

pytestmark = pytest.mark.interpreter


class OfTheProgram(ToolKit):
    """Tools that the program calls itself."""

    source = "manual"
    refused = None

    def make(self, function: Callable[..., Any]) -> Any:
        return metertap.tool(function)

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        (function,) = tools
        answers = []
        for _name, arguments in calls:
            answer = function(**arguments)
            answers.append(await answer if inspect.isawaitable(answer) else answer)
        return answers


class TestDecorated(OfTheProgram):
    pass


class TestCallableObjects(OfTheProgram):
    def make(self, function: Callable[..., Any]) -> Any:
        if inspect.iscoroutinefunction(function):

            class Later:
                async def __call__(self, text: str) -> Any:
                    return await function(text)

            return metertap.tool(name="work")(Later())

        class Work:
            def __call__(self, text: str) -> Any:
                return function(text)

        return metertap.tool(name="work")(Work())


class TestMethods(OfTheProgram):
    def make(self, function: Callable[..., Any]) -> Any:
        owner = type("Owner", (), {"work": metertap.tool(staticmethod(function))})
        return owner().work  # type: ignore[attr-defined]


class TestBlocks(OfTheProgram):
    def make(self, function: Callable[..., Any]) -> Any:
        if inspect.iscoroutinefunction(function):

            async def later(text: str) -> Any:
                with metertap.measure_tool("work"):
                    return await function(text)

            return later

        def work(text: str) -> Any:
            with metertap.measure_tool("work"):
                return function(text)

        return work
