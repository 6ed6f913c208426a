"""The program's own handlers, by lines of the configuration file: how their calls end."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

import metertap
import metertap_instrumentation
from support.configured_shop import (
    BY_ARGUMENT,
    BY_CONSTANT,
    configured,
    counted,
    figures,
    measured,
    outcomes,
    shop,
)
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter


def test_what_the_line_says_is_the_callers_fault() -> None:
    errors = '["UnknownMethod", "toolshop.server.BadParams", "builtins.LookupError"]'
    table = f'{{ name = "arg:method", caller_errors = {errors} }}'
    configured({"Rpc.handle": table, "ToolServer.relayed": table.replace("method", "tool_name")})
    with measured():
        module = shop()
        for error in (
            module.UnknownMethod(),
            module.BadParams(),
            KeyError("key"),
            ValueError(),
            TimeoutError(),
        ):
            with pytest.raises(type(error)) as raised:
                module.Rpc().handle("add", error)
            assert raised.value is error
            with pytest.raises(type(error)):
                asyncio.run(module.server.relayed("later", error))
        for tool in ("add", "later"):
            assert outcomes(tool) == {"caller_error": 3, "exception": 1, "timeout": 1}
            assert set(figures()[tool]["error_types"]) == {
                "UnknownMethod",
                "BadParams",
                "KeyError",
                "ValueError",
                "TimeoutError",
            }


class Result:
    """What a handler returns that tells of its failure by an attribute."""

    def __init__(self, is_error: Any) -> None:
        self.is_error = is_error


class Untold:
    """What does not say whether it is true."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


@pytest.mark.parametrize(
    ("failed", "failures", "successes"),
    [
        ("none", [None], [False, 0, {}]),
        ("false", [False], [None, 0, {}, True]),
        ("key:error", [{"error": "x"}], [{"error": None}, {}, None, ["error"], "error"]),
        (
            "key:error",
            [types.MappingProxyType({"error": 1})],
            [{"error": Untold()}, types.SimpleNamespace(error=1)],
        ),
        ("attr:is_error", [Result(True), Result(1)], [Result(False), Result(Untold()), None, {}]),
    ],
)
@pytest.mark.parametrize("attribute", ["receive", "areceive"])
def test_results_that_are_failures(
    attribute: str, failed: str, failures: list[Any], successes: list[Any]
) -> None:
    configured({f"ToolServer.{attribute}": f'{{ name = "const:tool", failed = "{failed}" }}'})
    with measured():
        for result in failures + successes:
            found = getattr(shop().server, attribute)(result)
            found = asyncio.run(found) if attribute == "areceive" else found
            assert found is result
        assert outcomes("tool") == {"tool_error": len(failures), "ok": len(successes)}
        assert figures()["tool"]["error_types"] == {"tool_error": len(failures)}


@pytest.mark.parametrize("table", [BY_ARGUMENT, BY_CONSTANT], ids=["argument", "constant"])
@pytest.mark.parametrize("method", ["dispatch", "later", "relayed"])
@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (ValueError("x"), "exception"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "cancelled"),
    ],
    ids=["exception", "timeout", "cancelled", "interrupt"],
)
def test_exceptions_pass_as_they_are(
    method: str, ending: BaseException, expected: str, table: str
) -> None:
    configured({f"ToolServer.{method}": table})

    async def call() -> None:
        result = getattr(shop().server, method)("buy", ending=ending)
        if inspect.isawaitable(result):
            await result

    with measured():
        with pytest.raises(type(ending)) as raised:
            _run_to_its_end(call())
        assert raised.value is ending
        assert outcomes("buy") == {expected: 1}
        assert figures()["buy"]["active_calls"] == 0
    if sys.version_info >= (3, 11):
        ours = (Path(metertap.__file__).parent, Path(metertap_instrumentation.__file__).parent)
        paths = [entry.path for entry in raised.traceback]
        assert not [path for path in paths if any(path.is_relative_to(folder) for folder in ours)]
    ending.__traceback__ = None


def _run_to_its_end(coroutine: Any) -> None:
    """As a loop does, which for its own part looks at interrupts and cancellations."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


def test_a_generator_is_timed_to_its_last_item_and_apart_to_its_first() -> None:
    streams = ("stream", "restream", "astream", "reastream")
    configured({f"ToolServer.{name}": f'{{ name = "const:{name}" }}' for name in streams})

    async def slowly(items: Any) -> None:
        async for _ in items:
            await asyncio.sleep(0.2)

    with measured():
        server = shop().server
        for made in (server.stream("x"), server.restream("x")):
            assert inspect.isgenerator(made)
            for _ in made:
                time.sleep(0.2)
        for made in (server.astream("x"), server.reastream("x")):
            assert inspect.isasyncgen(made)
            asyncio.run(slowly(made))
        for name in streams:
            found = figures()[name]
            assert (found["total_calls"], found["first_item"]["calls"]) == (1, 1)
            assert found["max_latency_ms"] >= 400 > found["first_item"]["avg_latency_ms"]


@pytest.mark.parametrize("name", ["arg:tool_name", None])
def test_the_making_of_what_is_run_later_is_part_of_the_call(name: str | None) -> None:
    lines: dict[str, str] = {}
    for tool, method in (("relay", "slow_relay"), ("stream", "slow_restream")):
        lines[f"ToolServer.{method}"] = f'{{ name = "{name or "const:" + tool}" }}'
    configured(lines)
    with measured():
        made = shop().server.slow_relay("relay"), shop().server.slow_restream("stream")
        time.sleep(1)
        assert counted() == {}
        asyncio.run(made[0])
        assert list(made[1]) == [0, 1]
        for tool in ("relay", "stream"):
            assert 20 <= figures()[tool]["max_latency_ms"] < 1000


@pytest.mark.parametrize("table", [BY_ARGUMENT, BY_CONSTANT], ids=["argument", "constant"])
def test_a_generator_given_up_between_two_items_was_cancelled_and_one_never_begun_is_no_call(
    table: str,
) -> None:
    configured({"ToolServer.stream": table, "ToolServer.restream": table})
    with measured():
        for method in (shop().server.stream, shop().server.restream):
            method("buy").close()
            begun = method("buy")
            next(begun)
            assert figures()["buy"]["active_calls"] == 1
            begun.close()
        assert outcomes("buy") == {"cancelled": 2}
        assert figures()["buy"]["active_calls"] == 0


@pytest.mark.parametrize("table", [BY_ARGUMENT, BY_CONSTANT], ids=["argument", "constant"])
@pytest.mark.parametrize("method", ["later", "relayed"])
def test_a_coroutine_that_is_given_up_is_no_call_and_warns_as_without(
    method: str, table: str, recwarn: pytest.WarningsRecorder
) -> None:
    configured({f"ToolServer.{method}": table})
    with measured():
        coroutine = getattr(shop().server, method)("buy")
        assert inspect.iscoroutine(coroutine)
        assert (coroutine.__name__, coroutine.__qualname__) == ("later", "ToolServer.later")
        coroutine.close()
        del coroutine
        gc.collect()
        assert not recwarn.list
        getattr(shop().server, method)("buy")
        gc.collect()
        assert [str(item.message) for item in recwarn.list] == [
            "coroutine 'ToolServer.later' was never awaited"
        ]
        assert counted() == {}


@pytest.mark.parametrize("table", [BY_ARGUMENT, BY_CONSTANT], ids=["argument", "constant"])
def test_a_coroutine_that_the_program_keeps_is_given_as_it_is(table: str) -> None:
    configured({"ToolServer.keep": table})
    with measured():
        server = shop().server
        made = server.keep("buy")
        assert made is server.kept
        asyncio.run(made)
        assert outcomes("buy") == {"ok": 1}
        assert figures()["buy"]["active_calls"] == 0


def test_what_is_awaited_and_is_no_coroutine_is_returned_as_it_is_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configured({"ToolServer.task": BY_ARGUMENT, "ToolServer.old_coroutine": BY_ARGUMENT})

    async def main() -> None:
        for _ in range(2):
            task = shop().server.task("task")
            assert isinstance(task, asyncio.Task)
            assert await task == "task"
            assert await shop().server.old_coroutine("old") == "old"

    with measured():
        asyncio.run(main())
        assert counted() == {"task": 2, "old": 2}
    assert warnings_of(caplog) == [
        "toolshop.server:ToolServer.task returns a Task: only the making of that is measured; "
        "name the async function itself"
    ]


METHODS = ("dispatch", "later", "relayed", "stream", "astream", "of_class", "static")


@pytest.mark.parametrize("table", [BY_ARGUMENT, BY_CONSTANT], ids=["argument", "constant"])
def test_functions_look_as_before(table: str) -> None:
    configured({f"ToolServer.{name}": table for name in METHODS} | {"run": table})
    before = {name: _looks(getattr(shop().ToolServer, name)) for name in METHODS}
    assert before["later"]["is async"]
    with measured():
        module = shop()
        assert {name: _looks(getattr(module.ToolServer, name)) for name in METHODS} == before
        assert pickle.loads(pickle.dumps(module.run)) is module.run
        assert pickle.loads(pickle.dumps(module.ToolServer.static))({}, 1) == 1
        assert copy.deepcopy(module.run) is module.run


def _looks(function: Any) -> dict[str, Any]:
    return {
        "signature": inspect.signature(function),
        "getfullargspec": inspect.getfullargspec(function),
        "defaults": (function.__defaults__, function.__kwdefaults__),
        "name": (function.__name__, function.__qualname__, function.__module__),
        "doc": function.__doc__,
        "code": inspect.unwrap(function).__code__,
        "is async": inspect.iscoroutinefunction(function),
        "is generator": inspect.isgeneratorfunction(function),
        "is async generator": inspect.isasyncgenfunction(function),
    }


@pytest.mark.parametrize("table", [BY_ARGUMENT, BY_CONSTANT], ids=["argument", "constant"])
def test_wrong_arguments_are_refused_at_the_call_which_is_none_of_the_tool(table: str) -> None:
    methods = (*METHODS, "later_of_class", "later_static")
    configured({f"ToolServer.{name}": table for name in methods} | {"Inheriting.later": table})

    def refused() -> list[str]:
        calls = [getattr(shop().server, name) for name in methods]
        told = []
        for call in (*calls, shop().Inheriting().later, shop().Inheriting.later):
            with pytest.raises(TypeError) as raised:
                call(odd=1)
            told.append(str(raised.value).replace("Inheriting.", "Base."))  # to be pickled
        return told

    expected = refused()
    with measured():
        assert refused() == expected
        assert counted() == {}


def test_undone_by_identity() -> None:
    methods = ("dispatch", "later", "stream", "of_class", "static", "partial")
    configured({f"ToolServer.{name}": BY_ARGUMENT for name in methods})
    before = dict(vars(shop().ToolServer))
    with measured():
        assert vars(shop().ToolServer)["dispatch"] is not before["dispatch"]
    assert dict(vars(shop().ToolServer)) == before
    assert all(vars(shop().ToolServer)[name] is before[name] for name in methods)
    for options in ({"disabled_instrumentations": ["configured"]}, {"enabled": False}):
        with measured(**options):
            assert vars(shop().ToolServer)["dispatch"] is before["dispatch"]
