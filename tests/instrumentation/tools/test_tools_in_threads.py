"""Tools whose functions are not async, which a framework runs in a thread."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import metertap
from kits.thread_kit import WORK, ThreadKit, WatchedClock


def asking_for(*calls: tuple[str, dict[str, Any]], **options: Any) -> Any:
    """An agent of pydantic-ai with a model that needs no thread."""
    agents = importlib.import_module("servers.pydantic_ai_agents")
    scripted = agents.calling(calls).function

    async def respond(*asked: Any) -> Any:
        return scripted(*asked)

    return agents.Agent(agents.FunctionModel(respond), **options)


@pytest.mark.library("pydantic_ai")
class TestOfPydanticAI(ThreadKit):
    def make(self, function: Callable[..., Any]) -> Any:
        return pytest.importorskip("pydantic_ai").Tool(function, takes_ctx=False)

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        return [await asking_for(*calls, tools=tools).run("go")]

    def test_what_a_toolset_does_around_a_function_is_the_calls_time(
        self, clock: WatchedClock
    ) -> None:
        """It may ask somebody first, or try again, and that is not the framework's."""
        toolsets = pytest.importorskip("pydantic_ai.toolsets")

        class Twice(toolsets.WrapperToolset):  # type: ignore[misc, name-defined]
            async def call_tool(self, *args: Any, **kwargs: Any) -> Any:
                clock.takes(16)
                await super().call_tool(*args, **kwargs)
                clock.takes(32)
                return await super().call_tool(*args, **kwargs)

        def work(text: str) -> str:
            """Work."""
            clock.takes(WORK)
            return text

        async def use(tools: list[Any], *calls: Any) -> list[Any]:
            toolset = Twice(toolsets.FunctionToolset(tools))
            return [await asking_for(*calls, toolsets=[toolset]).run("go")]

        self.use = use  # type: ignore[method-assign]
        asyncio.run(self.with_busy_threads(clock, work))
        assert self.took() == 16 + WORK + 32 + WORK

    def test_a_function_that_returns_a_coroutine_takes_as_long_as_both(
        self, clock: WatchedClock
    ) -> None:
        pytest.importorskip("pydantic_ai")
        if importlib.import_module("servers.pydantic_ai_agents").VERSION < (2,):
            pytest.skip("this version does not await it")

        async def later() -> str:
            clock.takes(WORK)
            return "done"

        def work(text: str) -> Any:
            """Work."""
            clock.takes(WORK)
            return later()

        asyncio.run(self.with_busy_threads(clock, work))
        assert self.took() == 2 * WORK


@pytest.mark.library("openai_agents")
class TestOfOpenAIAgents(ThreadKit):
    def make(self, function: Callable[..., Any]) -> Any:
        made: Any = pytest.importorskip("agents").function_tool(function)
        return made

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        runs = importlib.import_module("servers.openai_agents_runs")
        asked = [runs.call(name, **given) for name, given in calls]
        found: list[Any] = runs.outputs(await runs.run(tools, asked))
        return found

    def test_nothing_but_the_module_that_runs_tools_sees_it(self) -> None:
        """That has `asyncio` under its own name, which is the real one but for one function."""
        tool = pytest.importorskip("agents.tool")
        to_thread = asyncio.to_thread
        assert tool.asyncio is not asyncio
        assert tool.asyncio.to_thread is not to_thread is asyncio.to_thread
        assert tool.asyncio.wait_for is asyncio.wait_for
        assert inspect.signature(tool.asyncio.to_thread) == inspect.signature(to_thread)
        assert inspect.iscoroutinefunction(tool.asyncio.to_thread)
        for name in ("__name__", "__doc__", "__file__", "__spec__", "__path__"):
            assert getattr(tool.asyncio, name) is getattr(asyncio, name)
        assert (repr(tool.asyncio), dir(tool.asyncio)) == (repr(asyncio), dir(asyncio))
        assert isinstance(tool.asyncio, type(asyncio))
        assert pickle.loads(pickle.dumps(tool.asyncio)) is asyncio
        with pytest.raises(AttributeError):
            _ = tool.asyncio.nothing
        metertap.uninstrument()
        assert tool.asyncio is asyncio

    def test_a_name_that_other_code_replaced_stays_replaced(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool, theirs = pytest.importorskip("agents.tool"), object()
        kept = tool.asyncio
        monkeypatch.setattr(tool, "asyncio", theirs)
        metertap.uninstrument()
        assert tool.asyncio is theirs
        with metertap.instrument(json_endpoint=False) as tap:
            assert tool.asyncio is theirs
            assert tap.diagnosis()["faults"] == {}
        assert tool.asyncio is theirs
        assert asyncio.run(kept.to_thread(int, "5")) == 5


@pytest.mark.library("langchain")
class TestOfLangChain(ThreadKit):
    """A class with a plain `_run` alone, whose calls are async."""

    def make(self, function: Callable[..., Any]) -> Any:
        base = pytest.importorskip("langchain_core.tools").BaseTool

        class Work(base):  # type: ignore[misc, valid-type]
            name: str = "work"
            description: str = "Work."

            def _run(self, text: str) -> Any:
                return function(text)

        return Work()

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        (tool,) = tools
        return [await tool.ainvoke(given) for _name, given in calls]

    def test_what_a_tool_of_ones_own_does_around_it_is_the_tools_time(
        self, clock: WatchedClock
    ) -> None:
        base = pytest.importorskip("langchain_core.tools").BaseTool

        class Own(base):  # type: ignore[misc, valid-type]
            name: str = "work"
            description: str = "Work."

            def _run(self, text: str) -> Any:
                clock.takes(WORK)
                return text

            async def _arun(self, text: str) -> Any:
                clock.takes(16)
                both = super()._arun(text), super()._arun(text)
                await asyncio.gather(*both)
                clock.takes(32)

        self.make = lambda _function: Own()  # type: ignore[method-assign]
        asyncio.run(self.with_busy_threads(clock, print))
        # Both waited, at once: more than what passed cannot be taken off.
        assert 32 <= self.took() <= 16 + WORK + WORK + 32
