"""Measured LangChain tools look, raise and pickle as they do without being measured."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import metertap
from metertap import Tap
from metertap.measuring import calls, frameworks
from metertap_instrumentation.tools import langchain

pytest.importorskip("langchain_core.tools")
from langchain_core import tools as core_tools
from langchain_core.tools import base
from pydantic import ValidationError

from support.stopped_clock import stopped

pytestmark = pytest.mark.library("langchain")

ToolException = core_tools.ToolException
METHODS = ("run", "arun", "__init_subclass__")


class Plain(base.BaseTool):  # type: ignore[misc]
    """A tool that pickles: its class is found by name."""

    name: str = "plain"
    description: str = "Return it."

    def _run(self, number: int) -> int:
        return number


class Overriding(Plain):
    """A tool with a `run` of its own."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        return super().run(*args, **kwargs)


@core_tools.tool  # type: ignore[untyped-decorator]
def fails(number: int) -> int:
    """Fail."""
    raise LookupError(number)


@core_tools.tool  # type: ignore[untyped-decorator]
async def afails(number: int) -> int:
    """Fail, later."""
    raise LookupError(number)


def test_patches_are_undone_by_identity() -> None:
    owned = {name: vars(base.BaseTool)[name] for name in METHODS}
    handlers = base._handle_tool_error, base._handle_validation_error
    own = vars(Overriding)["run"]
    with metertap.instrument(json_endpoint=False):
        assert all(vars(base.BaseTool)[name] is not owned[name] for name in METHODS)
        assert vars(Overriding)["run"] is not own
        assert "run" not in vars(Plain)
    assert all(vars(base.BaseTool)[name] is owned[name] for name in METHODS)
    assert (base._handle_tool_error, base._handle_validation_error) == handlers
    assert vars(Overriding)["run"] is own


def test_patched_functions_look_as_they_did() -> None:
    def look(function: Any) -> tuple[object, ...]:
        return (
            inspect.signature(function),
            inspect.iscoroutinefunction(function),
            inspect.isfunction(function),
            function.__module__,
            function.__qualname__,
            function.__doc__,
            function.__annotations__,
        )

    def looks() -> list[tuple[object, ...]]:
        return [look(vars(base.BaseTool)[name]) for name in ("run", "arun")] + [
            look(base._handle_tool_error),
            look(vars(Overriding)["run"]),
        ]

    without = looks()
    with metertap.instrument(json_endpoint=False):
        assert langchain.INSTRUMENTATION.problem is None
        assert looks() == without


def test_schemas_that_models_get_are_the_same() -> None:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    def schemas() -> list[object]:
        @core_tools.tool  # type: ignore[untyped-decorator]
        def search(query: str, limit: int = 3) -> list[str]:
            """Search.

            Args:
                query: What for.
                limit: How many.
            """
            return [query] * limit

        class Later(Overriding):
            pass

        tools = (search, Plain(), Overriding(), Later())
        return [(convert_to_openai_tool(item), item.args) for item in tools]

    without = schemas()
    with metertap.instrument(json_endpoint=False):
        assert schemas() == without


@pytest.mark.parametrize("made", [Plain, Overriding])
def test_tools_pickle_and_copy(made: Any, tap: Tap) -> None:
    tool = made()
    for again in (pickle.loads(pickle.dumps(tool)), copy.copy(tool), copy.deepcopy(tool)):
        assert type(again) is made
        assert again.invoke({"number": 1}) == 1
    assert pickle.loads(pickle.dumps(tool.run))({"number": 1}) == 1
    assert tap.snapshot()["tool_metrics"]["plain"]["total_calls"] == 4


def test_pickles_of_measured_tools_are_read_without() -> None:
    with metertap.instrument(json_endpoint=False):
        written = pickle.dumps(Overriding())
    assert pickle.loads(written) == Overriding()


def _raised(run: Callable[[], Any]) -> BaseException:
    try:
        run()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def _handled_badly() -> Any:
    return core_tools.StructuredTool.from_function(
        _refuse, name="refuse", description="Refuse.", handle_tool_error=_break
    )


def _refuse() -> None:
    raise ToolException("no")


def _break(_error: Any) -> str:
    raise ZeroDivisionError


FAILURES: dict[str, Callable[[], Any]] = {
    "raised": lambda: fails.invoke({"number": 1}),
    "raised in a task": lambda: asyncio.run(afails.ainvoke({"number": 1})),
    "arguments": lambda: fails.invoke({"number": "many"}),
    "a handler's": lambda: _handled_badly().invoke({}),
    "of an overridden run": lambda: Overriding().invoke({"wrong": 1}),
    "of a class that is refused": lambda: type(
        "Refused", (Plain,), {"__annotations__": {"args_schema": base.BaseModel}}
    ),
}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there a caught frame stays")
@pytest.mark.parametrize("failure", FAILURES)
def test_tracebacks_are_the_same(failure: str) -> None:
    def frames() -> list[tuple[str, str]]:
        error = _raised(FAILURES[failure])
        return [(item.filename, item.name) for item in traceback.extract_tb(error.__traceback__)]

    without = frames()
    with metertap.instrument(json_endpoint=False):
        assert frames() == without


FAULTY = (
    "metertap_instrumentation.tools.langchain.Tools.name_of",
    "metertap_instrumentation.tools.langchain.Tools.returned",
    "metertap_instrumentation.tools.langchain.Tools.raising",
    "metertap_instrumentation.tools.langchain.handled",
    "metertap_instrumentation.tools.langchain.rejects_arguments",
)


@pytest.mark.faults
@pytest.mark.parametrize("place", FAULTY)
def test_a_fault_of_ours_reaches_nobody_and_is_counted(
    place: str, tap: Tap, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise ZeroDivisionError("a fault of metertap's own")

    caplog.set_level(logging.CRITICAL)
    handled = core_tools.StructuredTool.from_function(
        _refuse, name="refuse", description="Refuse.", handle_tool_error=True
    )
    lists = core_tools.StructuredTool.from_function(
        lambda: ["a", "b"], name="lists", description="List them."
    )
    with monkeypatch.context() as patched:
        patched.setattr(place, broken)
        assert Plain().invoke({"number": 1}) == 1
        assert lists.invoke({}) == ["a", "b"]
        assert handled.invoke({}) == "no"
        assert type(_raised(FAILURES["raised"])) is LookupError
        assert isinstance(_raised(FAILURES["arguments"]), ValidationError)
    assert sum(tap.diagnosis()["faults"].values()) > 0
    tools = tap.snapshot()["tool_metrics"].values()
    assert all(tool["active_calls"] == 0 for tool in tools)


def test_callbacks_are_told_the_same() -> None:
    from langchain_core.callbacks import BaseCallbackHandler

    def told() -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []

        class Listener(BaseCallbackHandler):  # type: ignore[misc]
            def on_tool_start(self, serialized: Any, input_str: str, **_: Any) -> None:
                seen.append(("start", f"{serialized['name']} {input_str}"))

            def on_tool_end(self, output: Any, **_: Any) -> None:
                seen.append(("end", str(output)))

            def on_tool_error(self, error: BaseException, **_: Any) -> None:
                seen.append(("error", repr(error)))

        config = {"callbacks": [Listener()]}
        Plain().invoke({"number": 1}, config)
        with pytest.raises(LookupError):
            fails.invoke({"number": 1}, config)
        return seen

    without = told()
    assert [kind for kind, _ in without] == ["start", "end", "start", "error"]
    with metertap.instrument(json_endpoint=False):
        assert told() == without


def test_both_instrumentations_of_the_library_are_switched_off_by_its_one_name() -> None:
    with metertap.instrument(json_endpoint=False, disabled_instrumentations="langchain") as tap:
        Plain().invoke({"number": 1})
        assert tap.snapshot()["tool_metrics"] == {}
        states = {
            item["state"]
            for item in tap.diagnosis()["instrumentations"]
            if item["name"] == "langchain"
        }
    assert states == {"switched off"}


def test_the_time_of_callbacks_is_not_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_core.callbacks import BaseCallbackHandler

    clock = stopped(monkeypatch, calls, frameworks)

    class Slow(BaseCallbackHandler):  # type: ignore[misc]
        def on_tool_start(self, *_: Any, **__: Any) -> None:
            clock.takes(0.5)

        on_tool_end = on_tool_error = on_tool_start

    config = {"callbacks": [Slow()]}
    with metertap.instrument(json_endpoint=False) as tap:
        Plain().invoke({"number": 1}, config)
        asyncio.run(Plain().ainvoke({"number": 1}, config))
        with pytest.raises(LookupError):
            fails.invoke({"number": 1}, config)
        with pytest.raises(LookupError):
            asyncio.run(afails.ainvoke({"number": 1}, config))
        longest = [tool["max_latency_ms"] for tool in tap.snapshot()["tool_metrics"].values()]
    assert len(longest) == 3
    assert max(longest) == 0
