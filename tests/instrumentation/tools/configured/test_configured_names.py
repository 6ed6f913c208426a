"""The program's own handlers, by lines of the configuration file: which tool a call is of."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import metertap
from kits.tool_kit import ToolKit
from metertap import faults
from metertap_instrumentation.tools import configured as lines_of_tools
from metertap_instrumentation.tools.configured.names import MOST_ARGUMENTS
from support.configured_shop import (
    BY_ARGUMENT,
    collected,
    configured,
    counted,
    figures,
    measured,
    outcomes,
    shop,
    swallow,
)
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter


class TestLines(ToolKit):
    source = "configured"
    instrumentation = lines_of_tools.INSTRUMENTATION
    refused = None

    @pytest.fixture(autouse=True)
    def measured(self, shop_is_importable: None) -> Iterator[metertap.Tap]:
        configured(dict.fromkeys(("run_tool", "run_tool_later"), '{ name = "const:work" }'))
        shop()
        with measured() as tap:
            yield tap

    def make(self, function: Callable[..., Any]) -> Any:
        return function

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        (function,) = tools
        if inspect.iscoroutinefunction(function):
            return [await shop().run_tool_later(function, **given) for _, given in calls]
        return [shop().run_tool(function, **given) for _, given in calls]


# Attribute, its table, the tool that is meant, and a call in the module `s`.
CALLS: list[tuple[str, str, str, Callable[[Any], Any]]] = [
    ("ToolServer.dispatch", BY_ARGUMENT, "buy", lambda s: s.server.dispatch("buy")),
    (
        "ToolServer.dispatch",
        BY_ARGUMENT,
        "buy",
        lambda s: s.server.dispatch(args=1, tool_name="buy"),
    ),
    ("ToolServer.dispatch", BY_ARGUMENT, "buy", lambda s: s.ToolServer.dispatch(s.server, "buy")),
    ("ToolServer.dispatch", BY_ARGUMENT, "search", lambda s: s.server.dispatch(s.Tool.SEARCH)),
    ("ToolServer.by_default", BY_ARGUMENT, "search", lambda s: s.server.by_default()),
    (
        "ToolServer.positional",
        BY_ARGUMENT,
        "buy",
        lambda s: s.server.positional("buy", tool_name="another"),
    ),
    ("ToolServer.keyword_only", BY_ARGUMENT, "search", lambda s: s.server.keyword_only(1)),
    (
        "ToolServer.keyword_only",
        BY_ARGUMENT,
        "buy",
        lambda s: s.server.keyword_only(tool_name="buy"),
    ),
    ("ToolServer.gathering", BY_ARGUMENT, "buy", lambda s: s.server.gathering(tool_name="buy")),
    ("ToolServer.decorated", BY_ARGUMENT, "buy", lambda s: s.server.decorated({}, "buy")),
    ("ToolServer.proxied", BY_ARGUMENT, "buy", lambda s: s.server.proxied({}, "buy")),
    ("ToolServer.static", BY_ARGUMENT, "buy", lambda s: s.ToolServer.static({}, "buy")),
    ("ToolServer.static", BY_ARGUMENT, "buy", lambda s: s.server.static({}, "buy")),
    ("ToolServer.of_class", BY_ARGUMENT, "buy", lambda s: s.ToolServer.of_class({}, "buy")),
    ("ToolServer.of_class", BY_ARGUMENT, "buy", lambda s: s.server.of_class({}, "buy")),
    (
        "ToolServer.proxied_of_class",
        BY_ARGUMENT,
        "buy",
        lambda s: s.ToolServer.proxied_of_class({}, "buy"),
    ),
    ("ToolServer.partial", BY_ARGUMENT, "buy", lambda s: s.server.partial("buy")),
    ("server.dispatch", BY_ARGUMENT, "buy", lambda s: s.server.dispatch("buy")),
    ("Inheriting.handle", BY_ARGUMENT, "buy", lambda s: s.Inheriting().handle("buy")),
    ("run", BY_ARGUMENT, "buy", lambda s: s.run("buy")),
    (
        "ToolServer.receive",
        '{ name = "arg:message.params.tool-name" }',
        "buy",
        lambda s: s.server.receive({"params": {"tool-name": "buy"}}),
    ),
    (
        "ToolServer.receive",
        '{ name = "arg:message.params.name" }',
        "buy",
        lambda s: s.server.receive(s.Message(params={"name": "buy"})),
    ),
    (
        "ToolServer.receive",
        '{ name = "arg:message.tool.value" }',
        "search",
        lambda s: s.server.receive(message=s.Message(tool=s.Tool.SEARCH)),
    ),
    ("ToolServer.call", '{ name = "attr:current.tool" }', "pay", lambda s: s.server.call()),
    (
        "ToolServer.of_class",
        '{ name = "attr:current.tool" }',
        "pay",
        lambda s: s.ToolServer.of_class(1, 2),
    ),
    ("ToolServer.call", '{ name = "const: a name " }', "a name", lambda s: s.server.call()),
    ("bound", '{ name = "const:nightly" }', "nightly", lambda s: s.bound()),
    ("export", "{}", "export", lambda s: s.export()),
    ("export", '{ name = "function" }', "export", lambda s: s.export()),
    ("reindex", "{}", "reindex", lambda s: asyncio.run(s.reindex(1))),
    ("ToolServer.later", BY_ARGUMENT, "buy", lambda s: asyncio.run(s.server.later("buy"))),
    ("ToolServer.relayed", BY_ARGUMENT, "buy", lambda s: asyncio.run(s.server.relayed("buy"))),
    ("ToolServer.stream", BY_ARGUMENT, "buy", lambda s: list(s.server.stream("buy"))),
    ("ToolServer.restream", BY_ARGUMENT, "buy", lambda s: list(s.server.restream("buy"))),
    (
        "ToolServer.astream",
        BY_ARGUMENT,
        "buy",
        lambda s: asyncio.run(collected(s.server.astream("buy"))),
    ),
    (
        "ToolServer.reastream",
        BY_ARGUMENT,
        "buy",
        lambda s: asyncio.run(collected(s.server.reastream(tool_name="buy"))),
    ),
]


@pytest.mark.parametrize(("attribute", "table", "tool", "call"), CALLS)
@pytest.mark.parametrize("imported", ["before", "after"])
def test_each_place_of_a_name_and_each_kind_of_function(
    attribute: str, table: str, tool: str, call: Any, imported: str
) -> None:
    configured({attribute: table})
    expected = call(shop())
    if imported == "after":
        del sys.modules["toolshop.server"]
    with measured():
        found = [call(shop()), call(shop())]
        assert counted() == {tool: 2}
        assert outcomes(tool) == {"ok": 2}
        assert figures()[tool]["source"] == "configured"
        assert figures()[tool]["active_calls"] == 0
        assert all(_alike(result, expected) for result in found)
    assert _alike(call(shop()), expected)
    assert counted() == {tool: 2}


def _alike(found: Any, expected: Any) -> bool:
    return found == expected or vars(found) == vars(expected)  # of two imports of one module


@pytest.mark.parametrize("value", [None, 5, b"buy", ["buy"], {"tool": "buy"}, "", "  "])
def test_what_is_no_text_is_no_name(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    configured({"run": BY_ARGUMENT})
    with measured():
        assert shop().run(value) is value
        assert counted() == {"_OTHER": 1}
        assert outcomes("_OTHER") == {"ok": 1}
    assert warnings_of(caplog) == []


def test_a_call_that_lacks_its_argument_fails_as_before_and_is_none() -> None:
    configured({"run": BY_ARGUMENT})
    with measured():
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            shop().run()
        assert counted() == {}


def test_a_name_that_cannot_be_read_is_told_once_and_the_call_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configured(
        {
            "ToolServer.receive": '{ name = "arg:message.secret" }',
            "ToolServer.call": '{ name = "attr:nowhere" }',
        }
    )
    with measured():
        for _ in range(2):
            message = shop().Message()
            assert shop().server.receive(message) is message
            assert shop().server.call() == "pay"
        assert counted() == {"_OTHER": 4}
    assert warnings_of(caplog) == [
        f"configured tool toolshop.server:ToolServer.{line}; the call is one of _OTHER (told once)"
        for line in (
            "receive: RuntimeError in reading arg:message.secret",
            "call: AttributeError in reading attr:nowhere",
        )
    ]
    assert faults.fault_counts() == {}


class Unreadable(dict[str, Any]):
    """A mapping that raises when it is read, as an array does when it is asked for its truth."""

    def get(self, _key: str, _default: Any = None) -> Any:
        raise ValueError("secret")


def test_calls_as_a_caller_should_not_make_them_are_no_faults_of_the_meters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configured(
        {
            "run": '{ name = "arg:tool_name", failed = "key:error" }',
            "ToolServer.dispatch": '{ name = "arg:tool_name", known = "attr:tools" }',
            "ToolServer.call": '{ name = "attr:current_tool" }',
            "ToolServer.receive": '{ name = "arg:message.tool" }',
        }
    )
    with measured():
        server = shop().ToolServer
        shop().run(Unreadable())
        for call in (server.dispatch, server.call, shop().server.dispatch, shop().run):
            with pytest.raises(TypeError, match="missing"):
                call()
        with pytest.raises(TypeError, match="missing"):
            server.dispatch("search")
        shop().server.receive(Unreadable())
        assert counted() == {"_OTHER": 2}  # the others were refused before they began
    assert faults.fault_counts() == {}
    told = warnings_of(caplog)
    assert "configured tool toolshop.server:run: ValueError in reading its result" in str(told)
    assert "secret" not in str(told)


def test_names_that_the_program_does_not_know_share_a_series_and_fail_by_their_callers() -> None:
    configured(
        {
            "Rpc.handle": '{ name = "arg:method", known = "attr:methods", failed = "false" }',
            "run": '{ name = "arg:tool_name", known = "global:TOOLS" }',
            "ToolServer.later": '{ name = "arg:tool_name", known = "attr:tools" }',
            "ToolServer.stream": '{ name = "arg:tool_name", known = "global:server.tools" }',
        }
    )
    with measured():
        rpc = shop().Rpc()
        endings = [None, ValueError(), TimeoutError(), False, asyncio.CancelledError()]
        for method in ("add", "evil", None):
            for ending in endings:
                swallow(rpc.handle, method, ending)
        assert outcomes("add") == {
            "ok": 1,
            "exception": 1,
            "timeout": 1,
            "tool_error": 1,
            "cancelled": 1,
        }
        assert outcomes("_OTHER") == {"ok": 2, "caller_error": 6, "cancelled": 2}
        rpc.methods = ("evil",)
        rpc.handle("evil")
        rpc.handle("add")
        assert (counted()["evil"], counted()["add"], counted()["_OTHER"]) == (1, 5, 11)
        shop().run("search")
        shop().TOOLS = {"evil": 1}
        shop().run("search")
        shop().run("evil")
        assert (counted()["search"], counted()["evil"], counted()["_OTHER"]) == (1, 2, 12)
        swallow(lambda: asyncio.run(shop().server.later("none", KeyError())))
        assert list(shop().server.stream("none")) == [0, 1]
        assert outcomes("_OTHER") == {"ok": 5, "caller_error": 7, "cancelled": 2}
        assert set(counted()) == {"add", "evil", "search", "_OTHER"}


@pytest.mark.parametrize("known", ["attr:text", "attr:names", "attr:nowhere"])
def test_what_is_no_collection_of_names_is_told_once_and_is_not_asked(
    known: str, caplog: pytest.LogCaptureFixture
) -> None:
    configured({"ToolServer.dispatch": f'{{ name = "arg:tool_name", known = "{known}" }}'})
    with measured() as tap:
        server = shop().ToolServer()
        server.dispatch("search")
        assert counted() == {"_OTHER": 1}
        assert list(server.names) == ["search", "buy"]
        assert tap.diagnosis()["faults"] == {}
    (warning,) = warnings_of(caplog)
    assert warning.startswith("configured tool toolshop.server:ToolServer.dispatch: ")
    assert f"in reading arg:tool_name and {known};" in warning


def test_names_past_the_limit_of_series_share_one() -> None:
    configured({"run": BY_ARGUMENT})
    with measured(series_limit=4):  # one is the module's own
        for number in range(10):
            shop().run(f"tool {number}")
        shop().run("tool 0")
        assert counted() == {"tool 0": 2, "tool 1": 1, "tool 2": 1, "_OTHER": 7}


def test_few_values_of_an_argument_become_names_where_nobody_says_which_are_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configured({"run": BY_ARGUMENT, "ToolServer.dispatch": '{ name = "arg:tool_name" }'})
    with measured() as tap:
        for number in range(2 * MOST_ARGUMENTS):
            shop().run(f"passw0rd {number}")
        shop().run("passw0rd 0")
        counts = counted()
        assert counts.pop("_OTHER") == MOST_ARGUMENTS
        assert counts.pop("passw0rd 0") == 2
        assert set(counts.values()) == {1}
        assert len(counts) == MOST_ARGUMENTS - 1
        notes = [note for note in tap.diagnosis()["notes"] if "known = …" in note]
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"toolshop.server:run: {MOST_ARGUMENTS} names of tools came from")
    assert "passw0rd" not in warning
    assert [note.partition(": ")[0] for note in notes] == [
        "toolshop.server:run",
        "toolshop.server:ToolServer.dispatch",
    ]
