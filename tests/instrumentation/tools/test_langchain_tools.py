"""LangChain's tools: each run is one call, whatever starts it, and ends as it is counted."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest

from kits.tool_kit import ToolKit
from metertap import Tap
from metertap_instrumentation.tools import langchain

pytest.importorskip("langchain_core.tools")
from langchain_core import tools as core_tools
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from pydantic import ValidationError

from support.langchain_tools import (
    FAILED,
    SECRET,
    VALIDATION,
    Interrupt,
    broken_data,
    called,
    counted,
    double,
    raising,
    returning,
)

pytestmark = pytest.mark.library("langchain")


@tool  # type: ignore[untyped-decorator]
async def adouble(number: int) -> int:
    """Double it, later."""
    await asyncio.sleep(0)
    return number * 2


class Bare(BaseTool):  # type: ignore[misc]
    """A tool of a class of its own, sync and async."""

    name: str = "bare"
    description: str = "Return it."

    def _run(self, given: str) -> str:
        return given

    async def _arun(self, given: str) -> str:
        return given


class TestTools(ToolKit):
    source = "langchain"
    instrumentation = langchain.INSTRUMENTATION
    validates = True

    def make(self, function: Callable[..., Any]) -> Any:
        is_async = inspect.iscoroutinefunction(function)
        functions = {"coroutine": function} if is_async else {"func": function}
        return StructuredTool.from_function(**functions, name=function.__name__)

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        by_name = {item.name: item for item in tools}
        found = [(by_name[name], arguments) for name, arguments in calls]
        return [
            await it.ainvoke(given) if it.coroutine else it.invoke(given) for it, given in found
        ]


WAYS: dict[str, Callable[[], Any]] = {
    "invoke": lambda: double.invoke({"number": 1}),
    "invoke, of a tool call": lambda: double.invoke(called("double", number=1)).content,
    "run": lambda: double.run({"number": 1}),
    "batch": lambda: double.batch([{"number": 1}])[0],
    "stream": lambda: next(iter(double.stream({"number": 1}))),
    "ainvoke": lambda: asyncio.run(double.ainvoke({"number": 1})),
    "arun": lambda: asyncio.run(double.arun({"number": 1})),
    "abatch": lambda: asyncio.run(double.abatch([{"number": 1}]))[0],
    "a runnable around it": lambda: RunnableLambda(lambda it: double.invoke(it)).invoke(
        {"number": 1}
    ),
    "a chain": lambda: (RunnableLambda(lambda it: it) | double).invoke({"number": 1}),
    "with retries": lambda: double.with_retry().invoke({"number": 1}),
    "with a configuration": lambda: double.with_config(tags=["one"]).invoke({"number": 1}),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_run_a_tool_is_one_call(way: str, tap: Tap) -> None:
    assert str(WAYS[way]()) == "2"
    assert counted(tap, "double") == {"ok": 1}
    assert list(tap.snapshot()["tool_metrics"]) == ["double"]


@pytest.mark.parametrize(
    "run",
    [
        lambda: adouble.ainvoke({"number": 1}),
        lambda: adouble.ainvoke(called("adouble", number=1)),
        lambda: adouble.arun({"number": 1}),
        lambda: adouble.abatch([{"number": 1}]),
    ],
)
def test_each_way_to_run_an_async_tool_is_one_call(run: Callable[[], Any], tap: Tap) -> None:
    asyncio.run(run())
    assert counted(tap, "adouble") == {"ok": 1}


def test_kinds_of_tools(tap: Tap) -> None:
    simple = core_tools.Tool("simple", lambda text: text, "Return it.")
    structured = StructuredTool.from_function(lambda text: text, name="lambda", description="Same.")
    runnable = RunnableLambda(lambda it: it["number"]).as_tool(
        name="runnable", description="Same.", arg_types={"number": int}
    )
    assert simple.invoke("a") == structured.invoke({"text": "a"}) == "a"
    assert runnable.invoke({"number": 1}) == 1
    assert Bare().invoke("a") == asyncio.run(Bare().ainvoke("a")) == "a"
    names = ("simple", "lambda", "runnable", "bare")
    assert [counted(tap, name) for name in names] == [{"ok": 1}] * 3 + [{"ok": 2}]


def test_a_retriever_as_a_tool(tap: Tap) -> None:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    class Library(BaseRetriever):  # type: ignore[misc]
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
            return [Document(page_content=query)]

    search = core_tools.create_retriever_tool(Library(), "search", "Search it.")
    assert search.invoke({"query": "a"}) == "a"
    assert asyncio.run(search.ainvoke({"query": "a"})) == "a"
    assert counted(tap, "search") == {"ok": 2}


def test_artifacts_and_injected_arguments_arrive(tap: Tap) -> None:
    @tool(response_format="content_and_artifact")  # type: ignore[untyped-decorator]
    def chart(
        number: int, user: Annotated[str, core_tools.InjectedToolArg]
    ) -> tuple[str, list[str]]:
        """Draw it."""
        return str(number), [user]

    answer = chart.invoke(called("chart", number=1, user="ann"))
    assert (answer.content, answer.artifact, answer.status) == ("1", ["ann"], "success")
    assert "user" not in chart.tool_call_schema.model_json_schema()["properties"]
    assert counted(tap, "chart") == {"ok": 1}


def test_many_at_once_in_threads_and_tasks(tap: Tap) -> None:
    assert double.batch([{"number": 1}] * 50) == [2] * 50
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(double.invoke, [{"number": 1}] * 50))
    asyncio.run(adouble.abatch([{"number": 1}] * 50))
    assert counted(tap, "double") == {"ok": 100}
    assert counted(tap, "adouble") == {"ok": 50}


def test_a_tool_that_calls_another_is_two_calls(tap: Tap) -> None:
    @tool  # type: ignore[untyped-decorator]
    def outer(number: int) -> int:
        """Call another twice."""
        result: int = double.invoke({"number": number}) + double.invoke({"number": number})
        return result

    assert outer.invoke({"number": 1}) == 4
    assert counted(tap, "outer") == {"ok": 1}
    assert counted(tap, "double") == {"ok": 2}


def test_an_error_that_an_inner_tool_handled_is_not_the_outer_ones(tap: Tap) -> None:
    inner = raising(lambda: ToolException("no"), handle_tool_error=True)

    @tool  # type: ignore[untyped-decorator]
    def outer() -> str:
        """Call another."""
        return f"it said {inner.invoke({})}"

    assert outer.invoke({}) == "it said no"
    assert counted(tap, "one") == {"tool_error": 1}
    assert counted(tap, "outer") == {"ok": 1}


def test_a_tool_that_calls_itself_makes_two(tap: Tap) -> None:
    @tool  # type: ignore[untyped-decorator]
    def countdown(number: int) -> int:
        """Count."""
        return 0 if number == 0 else countdown.invoke({"number": number - 1})  # type: ignore[no-any-return]

    countdown.invoke({"number": 2})
    assert counted(tap, "countdown") == {"ok": 3}


def test_a_tool_that_hands_on_to_one_of_its_name_is_one_call(tap: Tap) -> None:
    def guarded(number: int) -> int:
        result: int = double.invoke({"number": number})
        return result

    proxy = StructuredTool.from_function(guarded, name="double", description="Ask first.")
    assert proxy.invoke(called("double", number=1)).content == "2"
    assert double.as_tool().invoke({"number": 1}) == 2
    assert counted(tap, "double") == {"ok": 2}


def test_a_tool_that_refuses_to_hand_on_is_a_call(tap: Tap) -> None:
    def refusing(number: int) -> int:
        raise Interrupt

    proxy = StructuredTool.from_function(refusing, name="double", description="Ask first.")
    with pytest.raises(Interrupt):
        proxy.invoke({"number": 1})
    assert counted(tap, "double") == {"interim": 1}


def test_a_tool_in_which_a_model_asks_for_one_of_its_name_is_two_calls(tap: Tap) -> None:
    def delegating(number: int) -> int:
        return int(double.invoke(called("double", number=number)).content)

    agent = StructuredTool.from_function(delegating, name="double", description="Think.")
    assert agent.invoke({"number": 1}) == 2
    assert counted(tap, "double") == {"ok": 2}


class Replaced(BaseTool):  # type: ignore[misc]
    """It never comes to the base class."""

    name: str = "own"
    description: str = "Run by itself."

    def _run(self) -> str:
        raise NotImplementedError

    def run(self, tool_input: Any, *_args: Any, **_kwargs: Any) -> Any:
        """Run."""
        return "own"

    async def arun(self, tool_input: Any, *_args: Any, **_kwargs: Any) -> Any:
        """Run."""
        return self.run(tool_input)


class Extended(Bare):
    """It does something before and after, and tries twice if told to."""

    name: str = "own"
    attempts: int = 1

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run."""
        return [super(Extended, self).run(*args, **kwargs) for _ in range(self.attempts)][-1]

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        """Run."""
        return await super().arun(*args, **kwargs)


class ExtendedAgain(Extended):
    """One more."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run."""
        return super().run(*args, **kwargs)


@pytest.mark.parametrize("made", [Replaced, Extended, ExtendedAgain])
def test_a_class_with_a_run_of_its_own_counts_once(made: Any, tap: Tap) -> None:
    own = made()
    own.invoke("a")
    assert counted(tap, "own") == {"ok": 1}
    asyncio.run(own.ainvoke("a"))
    assert counted(tap, "own") == {"ok": 2}


def test_a_class_that_is_defined_later_counts_too(tap: Tap) -> None:
    class Later(Replaced):
        def run(self, tool_input: Any, *_args: Any, **_kwargs: Any) -> Any:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        Later().invoke("a")
    assert counted(tap, "own") == {"timeout": 1}


def test_each_attempt_of_a_run_that_tries_again_is_a_call(tap: Tap) -> None:
    assert Extended(attempts=3).invoke("a") == "a"
    assert counted(tap, "own") == {"ok": 3}


def test_what_a_tool_returns_is_the_same_object(tap: Tap) -> None:
    result = object()
    assert returning(result).invoke({}) is result
    assert returning(FAILED).invoke({}) is FAILED
    assert counted(tap, "one") == {"ok": 1, "tool_error": 1}


def test_nothing_of_a_call_gets_into_the_document(tap: Tap) -> None:
    for made in (
        lambda: returning(SECRET),
        lambda: raising(lambda: KeyError(SECRET)),
        lambda: raising(lambda: ToolException(SECRET), handle_tool_error=True),
        lambda: raising(broken_data, **VALIDATION),
    ):
        for arguments in ({"number": SECRET}, {SECRET: 1}, {}):
            with contextlib.suppress(KeyError, ValidationError):
                made().invoke(arguments, {"run_name": SECRET, "tags": [SECRET]})
    assert sum(counted(tap, "one").values()) == 12
    shown = json.dumps([tap.snapshot(), tap.diagnosis()], default=str)
    assert SECRET not in shown
    assert tap.diagnosis()["faults"] == {}
