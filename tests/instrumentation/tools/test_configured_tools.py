"""The program's own handlers, by lines of the configuration file."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import importlib
import inspect
import json
import pickle
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
import metertap_instrumentation
from kits.tool_kit import ToolKit
from metertap import faults
from metertap.settings import settings
from metertap_instrumentation.tools import configured as lines_of_tools
from metertap_instrumentation.tools.configured.names import MOST_ARGUMENTS
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter

SHOP = """
import asyncio
import enum
import functools
import time
import types

import wrapt

import metertap

class UnknownMethod(Exception):
    pass

class BadParams(ValueError):
    pass

class Tool(str, enum.Enum):
    SEARCH = "search"

class Message:
    def __init__(self, **fields):
        self.__dict__.update(fields)

    @property
    def secret(self):
        raise RuntimeError("the secret is in this text")

TOOLS = {"search": 1, "buy": 2}
LIMIT = "a-value-of-the-program"

def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

@wrapt.decorator
def traced(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)

def end(ending, default=None):
    if isinstance(ending, BaseException):
        raise ending
    return default if ending is None else ending

async def wait():
    await asyncio.Event().wait()

def items_of(items):
    yield from range(items)

async def async_items_of(items):
    for item in range(items):
        await asyncio.sleep(0)
        yield item

class ToolServer:
    current = Message(tool="pay")
    text = "search and buy"
    size = property(lambda self: len(self.tools))

    def __init__(self):
        self.tools = dict(TOOLS)
        self.names = iter(["search", "buy"])

    def dispatch(self, tool_name, args=None, ending=None):
        "Runs a tool."
        return end(ending, tool_name)

    def by_default(self, tool_name="search"):
        return tool_name

    def positional(self, tool_name, /, **more):
        return tool_name

    def keyword_only(self, *args, tool_name="search"):
        return tool_name

    def gathering(self, **arguments):
        return arguments

    @logged
    def decorated(self, args, tool_name):
        return tool_name

    @traced
    def proxied(self, args, tool_name):
        return tool_name

    @staticmethod
    def static(args, tool_name):
        return tool_name

    @classmethod
    def of_class(cls, args, tool_name):
        return tool_name

    @traced
    @classmethod
    def proxied_of_class(cls, args, tool_name):
        return tool_name

    partial = functools.partialmethod(dispatch, args=5)

    def receive(self, message):
        return message

    async def areceive(self, message):
        return message

    def call(self):
        return self.current.tool

    async def later(self, tool_name, ending=None):
        "Runs a tool, later."
        await asyncio.sleep(0)
        return end(ending, tool_name)

    def relayed(self, tool_name, ending=None):
        return self.later(tool_name, ending)

    def stream(self, tool_name, items=2):
        yield from range(items)
        return "ended"

    def restream(self, tool_name, items=2):
        return items_of(items)

    async def astream(self, tool_name, items=2):
        for item in range(items):
            await asyncio.sleep(0)
            yield item

    def reastream(self, tool_name, items=2):
        return async_items_of(items)

    def task(self, tool_name):
        return asyncio.ensure_future(self.later(tool_name))

    @types.coroutine
    def old_coroutine(self, tool_name):
        yield from asyncio.sleep(0).__await__()
        return tool_name

    async def wait(self, tool_name):
        await wait()

    def rewait(self, tool_name):
        return wait()

    def slow_relay(self, tool_name):
        time.sleep(0.02)
        return self.later(tool_name)

    def slow_restream(self, tool_name):
        time.sleep(0.02)
        return self.stream(tool_name)

    def through(self, names):
        return [names["first"], *(self.through(names["rest"]) if names["rest"] else [])]

class Base:
    def handle(self, tool_name):
        return ("base", tool_name)

class Derived(Base):
    def handle(self, tool_name):
        return ("derived", super().handle(tool_name))

class Inheriting(Base):
    pass

class Rpc:
    methods = ("add", "subtract")

    def handle(self, method, ending=None):
        return end(ending)

def run_tool(function, text):
    return function(text)

async def run_tool_later(function, text):
    return await function(text)

def run_that(tool_name, action):
    action()

async def run_that_later(tool_name, action):
    action()

def run_that_in_steps(tool_name, action):
    action()
    yield 1

def invoke(tool_name, tool):
    return tool.invoke({"tool_name": tool_name})

@metertap.tool
def marked():
    return "marked"

def export():
    return "exported"

def run(tool_name):
    return tool_name

@logged
async def reindex(*args):
    return args

bound = functools.partial(run, "search")
server = ToolServer()
"""


@pytest.fixture(autouse=True)
def shop_is_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "toolshop").mkdir()
    (tmp_path / "toolshop" / "__init__.py").touch()
    (tmp_path / "toolshop" / "server.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "pyproject.toml"))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    metertap.uninstrument()
    for name in [name for name in sys.modules if name.partition(".")[0] == "toolshop"]:
        del sys.modules[name]


def configured(lines: dict[str, str]) -> None:
    """Write the file: attribute of the module → its table."""
    text = "".join(f'"toolshop.server:{target}" = {table}\n' for target, table in lines.items())
    Path("pyproject.toml").write_text(f"[tool.metertap.tools]\n{text}")


def measured(**options: Any) -> metertap.Tap:
    """Without an endpoint, whose end would take its time."""
    return metertap.instrument(json_endpoint=False, **options)


def shop() -> Any:
    return importlib.import_module("toolshop.server")


def figures() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"]
    return found


def counted() -> dict[str, int]:
    """Calls by name, of those that were called."""
    return {name: item["total_calls"] for name, item in figures().items() if item["total_calls"]}


def outcomes(name: str) -> dict[str, int]:
    return {ended: count for ended, count in figures()[name]["outcomes"].items() if count}


async def collected(items: Any) -> list[Any]:
    return [item async for item in items]


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


BY_ARGUMENT = '{ name = "arg:tool_name" }'

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


def test_a_call_that_lacks_its_argument_is_counted_and_fails_as_before() -> None:
    configured({"run": BY_ARGUMENT})
    with measured():
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            shop().run()
        assert figures()["_OTHER"]["error_types"] == {"TypeError": 1}


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
        assert counted() == {"_OTHER": 7}
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
                _swallow(rpc.handle, method, ending)
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
        _swallow(lambda: asyncio.run(shop().server.later("none", KeyError())))
        assert list(shop().server.stream("none")) == [0, 1]
        assert outcomes("_OTHER") == {"ok": 5, "caller_error": 7, "cancelled": 2}
        assert set(counted()) == {"add", "evil", "search", "_OTHER"}


def _swallow(call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with contextlib.suppress(Exception, asyncio.CancelledError):
        call(*args, **kwargs)


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


@pytest.mark.parametrize("method", ["dispatch", "later", "relayed"])
@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (ValueError("x"), "exception"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "exception"),
    ],
    ids=["exception", "timeout", "cancelled", "interrupt"],
)
def test_exceptions_pass_as_they_are(method: str, ending: BaseException, expected: str) -> None:
    configured({f"ToolServer.{method}": BY_ARGUMENT})

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
            await asyncio.sleep(0.02)

    with measured():
        server = shop().server
        for made in (server.stream("x"), server.restream("x")):
            assert inspect.isgenerator(made)
            for _ in made:
                time.sleep(0.02)
        for made in (server.astream("x"), server.reastream("x")):
            assert inspect.isasyncgen(made)
            asyncio.run(slowly(made))
        for name in streams:
            found = figures()[name]
            assert (found["total_calls"], found["first_item"]["calls"]) == (1, 1)
            assert found["max_latency_ms"] >= 40 > found["first_item"]["avg_latency_ms"]


def test_the_making_of_what_is_run_later_is_part_of_the_call() -> None:
    configured({"ToolServer.slow_relay": BY_ARGUMENT, "ToolServer.slow_restream": BY_ARGUMENT})
    with measured():
        made = shop().server.slow_relay("relay"), shop().server.slow_restream("stream")
        time.sleep(0.2)
        assert counted() == {}
        asyncio.run(made[0])
        assert list(made[1]) == [0, 1]
        for tool in ("relay", "stream"):
            assert 20 <= figures()[tool]["max_latency_ms"] < 200


def test_a_generator_given_up_between_two_items_was_cancelled_and_one_never_begun_is_no_call() -> (
    None
):
    configured({"ToolServer.stream": BY_ARGUMENT, "ToolServer.restream": BY_ARGUMENT})
    with measured():
        for method in (shop().server.stream, shop().server.restream):
            method("buy").close()
            begun = method("buy")
            next(begun)
            assert figures()["buy"]["active_calls"] == 1
            begun.close()
        assert outcomes("buy") == {"cancelled": 2}
        assert figures()["buy"]["active_calls"] == 0


@pytest.mark.parametrize("method", ["later", "relayed"])
def test_a_coroutine_that_is_given_up_is_no_call_and_warns_as_without(
    method: str, recwarn: pytest.WarningsRecorder
) -> None:
    configured({f"ToolServer.{method}": BY_ARGUMENT})
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


def test_functions_look_as_before() -> None:
    methods = ("dispatch", "later", "relayed", "stream", "astream", "of_class", "static")
    configured({f"ToolServer.{name}": BY_ARGUMENT for name in methods} | {"run": BY_ARGUMENT})
    before = {name: _looks(getattr(shop().ToolServer, name)) for name in methods}
    assert before["later"]["is async"]
    with measured():
        module = shop()
        assert {name: _looks(getattr(module.ToolServer, name)) for name in methods} == before
        assert pickle.loads(pickle.dumps(module.run)) is module.run
        assert pickle.loads(pickle.dumps(module.ToolServer.static))({}, 1) == 1
        assert copy.deepcopy(module.run) is module.run


def _looks(function: Any) -> dict[str, Any]:
    return {
        "signature": inspect.signature(function),
        "name": (function.__name__, function.__qualname__, function.__module__),
        "doc": function.__doc__,
        "code": inspect.unwrap(function).__code__,
        "is async": inspect.iscoroutinefunction(function),
        "is generator": inspect.isgeneratorfunction(function),
        "is async generator": inspect.isasyncgenfunction(function),
    }


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


# One call, one record


def test_a_dispatcher_in_a_dispatcher_is_a_call_of_its_own() -> None:
    configured({"ToolServer.through": '{ name = "arg:names.first" }'})
    with measured():
        names = {"first": "a", "rest": {"first": "b", "rest": {"first": "b", "rest": None}}}
        assert shop().server.through(names) == ["a", "b", "b"]
        assert counted() == {"a": 1, "b": 2}


def test_one_call_that_two_lines_see_is_counted_at_the_outermost() -> None:
    table = '{ name = "arg:tool_name" }'
    configured({"Derived.handle": table, "Base.handle": table, "Inheriting.handle": table})
    with measured():
        assert shop().Derived().handle("buy") == ("derived", ("base", "buy"))
        assert counted() == {"buy": 1}
        shop().Inheriting().handle("buy")
        shop().Base().handle("buy")
        assert counted() == {"buy": 3}


def _decorated(_shop: Any) -> None:
    metertap.tool(name="buy")(lambda: None)()


def _in_block(_shop: Any) -> None:
    with metertap.measure_tool("buy"):
        pass


def _recorded(_shop: Any) -> None:
    metertap.record_tool_call("buy", True, 1.0)


@pytest.mark.parametrize("by_hand", [_decorated, _in_block, _recorded])
@pytest.mark.parametrize("line", ["run_that", "run_that_later", "run_that_in_steps"])
def test_what_is_measured_by_hand_inside_is_the_same_call(line: str, by_hand: Any) -> None:
    configured({line: BY_ARGUMENT})
    with measured() as tap:
        result = getattr(shop(), line)("buy", lambda: by_hand(shop()))
        if inspect.iscoroutine(result):
            asyncio.run(result)
        elif result is not None:
            assert list(result) == [1]
        assert counted() == {"buy": 1}
        assert tap.diagnosis()["left_out_duplicates"] == {"buy": 1}


@pytest.mark.parametrize("line", ["run_that", "run_that_later", "run_that_in_steps"])
def test_a_line_inside_what_is_measured_by_hand_is_the_same_call(line: str) -> None:
    configured({line: BY_ARGUMENT})
    with measured():
        error = LookupError()

        def nothing() -> None:
            pass

        def fail() -> None:
            raise error

        for action in (nothing, fail):
            with contextlib.suppress(LookupError), metertap.measure_tool("buy"):
                result = getattr(shop(), line)("buy", action)
                if inspect.iscoroutine(result):
                    asyncio.run(result)
                elif result is not None:
                    list(result)
        assert outcomes("buy") == {"ok": 1, "exception": 1}
        assert figures()["buy"]["source"] == "manual"
    if sys.version_info >= (3, 11):
        frames = []
        traceback = error.__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame.f_code.co_filename)
            traceback = traceback.tb_next
        assert not [file for file in frames if "metertap_instrumentation" in file]


def test_a_line_on_a_decorated_function_is_the_same_call() -> None:
    configured({"marked": "{}"})
    with measured():
        assert shop().marked() == "marked"
        assert sum(counted().values()) == 1


def test_a_line_on_the_tool_of_an_mcp_server_is_the_same_call() -> None:
    pytest.importorskip("mcp")
    from servers.mcp_stacks import stacks

    configured({"run": '{ name = "function" }'})
    stack = next(stack for stack in stacks() if stack.empty is not None)

    async def call() -> Any:
        assert stack.empty is not None
        server = stack.empty("shop")
        server.tool()(shop().run)
        async with stack.connect(server) as session:
            return await session.call_tool("run", {"tool_name": "x"})

    with measured():
        asyncio.run(call())
        assert (counted(), figures()["run"]["source"]) == ({"run": 1}, "mcp:shop")
        assert "configured" not in {item["source"] for item in figures().values()}


def test_a_line_inside_or_around_a_langchain_tool_is_the_same_call() -> None:
    tools = pytest.importorskip("langchain_core.tools")
    configured({"run": '{ name = "const:find" }', "invoke": '{ name = "arg:tool_name" }'})
    with measured():
        find = tools.StructuredTool.from_function(shop().run, name="find", description="Finds.")
        assert find.invoke({"tool_name": "x"}) == "x"
        assert {name for name in figures() if name != "marked"} == {"find"}
        assert (counted(), figures()["find"]["source"]) == ({"find": 1}, "langchain")
        assert shop().invoke("find", find) == "find"
        assert counted() == {"find": 1, "find@configured": 1}


# Lines that are wrong


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('"toolshop.server" = {}', "a target is written"),
        ('"toolshop.server:run()" = {}', "a target is written"),
        ('"toolshop.server:run" = "function"', "a table is needed, such as"),
        ('"toolshop.server:run" = { nam = "function" }', "nam is no key; did you mean name?"),
        ('"toolshop.server:run" = { miss = "none" }', "miss is no key"),
        (
            '"toolshop.server:run" = { name = "run" }',
            "name = 'run' is unknown; did you mean const:run?; known: function, arg:PARAMETER, "
            "attr:ATTRIBUTE, const:TEXT",
        ),
        ('"toolshop.server:run" = { name = "args:tool" }', "did you mean arg?"),
        ('"toolshop.server:run" = { name = "functon" }', "did you mean function?"),
        ('"toolshop.server:run" = { name = "arg:" }', "name = 'arg:' is unknown"),
        ('"toolshop.server:run" = { name = "arg:a..b" }', "name = 'arg:a..b' is unknown"),
        ('"toolshop.server:run" = { name = "const: " }', "name = 'const: ' is unknown"),
        ('"toolshop.server:run" = { name = "" }', "name = '' is unknown"),
        ('"toolshop.server:run" = { name = 5 }', "name = 5 is unknown"),
        (
            '"toolshop.server:run" = { name = "arg:tool_name", known = "TOOLS" }',
            "known = 'TOOLS' is unknown; known: attr:ATTRIBUTE, global:NAME",
        ),
        (
            '"toolshop.server:run" = { name = "arg:tool_name", known = "globals:TOOLS" }',
            "did you mean global?",
        ),
        ('"toolshop.server:run" = { known = "global:TOOLS" }', "known is for names from arguments"),
        (
            '"toolshop.server:run" = { name = "arg:tool_name", known = "global:TOOL" }',
            "toolshop.server has no global TOOL; did you mean TOOLS?",
        ),
        (
            '"toolshop.server:run" = { name = "arg:tool_name", known = "attr:tools" }',
            "known = attr:… is for methods, and run is none",
        ),
        ('"toolshop.server:run" = { failed = "nothing" }', "failed = 'nothing' is unknown"),
        ('"toolshop.server:run" = { failed = "keys:error" }', "did you mean key?"),
        ('"toolshop.server:run" = { failed = "attr:a.b" }', "failed = 'attr:a.b' is unknown"),
        (
            '"toolshop.server:run" = { caller_errors = "UnknownMethod" }',
            "caller_errors = 'UnknownMethod' is no list of names of exceptions",
        ),
        ('"toolshop.server:run" = { caller_errors = [""] }', "is no list of names"),
        ('"toolshop.server:run" = { caller_errors = [5] }', "is no list of names"),
        (
            '"toolshop.server:run" = { name = "arg:tool_nam" }',
            "run has no parameter tool_nam; did you mean tool_name?",
        ),
        (
            '"toolshop.server:ToolServer.dispatch" = { name = "arg:self" }',
            "dispatch has no parameter self",
        ),
        (
            '"toolshop.server:ToolServer.keyword_only" = { name = "arg:args" }',
            "args of keyword_only is many arguments",
        ),
        (
            '"toolshop.server:ToolServer.static" = { name = "attr:tool" }',
            "name = attr:… is for methods, and static is none",
        ),
        (
            '"toolshop.server:ToolServer.stream" = { failed = "none" }',
            "failed is for results, and ToolServer.stream is a generator",
        ),
        ('"toolshop.server:nowhere" = {}', "toolshop.server:nowhere does not exist"),
        ('"toolshop.server:Nowhere.run" = {}', "toolshop.server:Nowhere.run does not exist"),
        ('"toolshop.server:LIMIT" = {}', "toolshop.server:LIMIT is no function"),
        (
            '"toolshop.server:LIMIT" = { name = "arg:x" }',
            "toolshop.server:LIMIT is no function",
        ),
        ('"toolshop.server:ToolServer" = {}', "toolshop.server:ToolServer is no function"),
        (
            '"toolshop.server:ToolServer.size" = {}',
            "toolshop.server:ToolServer.size is no function",
        ),
        ('"__main__:nowhere" = {}', "what __main__ defines later is not seen"),
    ],
)
def test_a_line_that_is_wrong_is_one_warning_and_takes_no_other_with_it(
    line: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = '"toolshop.server:export" = {}'
    Path("pyproject.toml").write_text(f"[tool.metertap.tools]\n{line}\n{good}\n")
    with measured() as tap:
        module = shop()
        assert module.export() == "exported"
        assert module.run("x") == "x"
        assert module.server.size == 2
        assert counted() == {"export": 1}
        patches = _own_tools(tap)
        assert sorted(patch["state"] for patch in patches) == ["failed", "installed"]
        (problem,) = (patch["problem"] for patch in patches if patch["problem"])
    (warning,) = warnings_of(caplog)
    assert why in warning
    assert warning.startswith("[tool.metertap.tools] toolshop.") or "__main__" in warning
    assert warning.endswith("; it is ignored")
    assert why in problem
    assert faults.fault_counts() == {}
    assert module.LIMIT not in warning


def test_each_of_several_wrong_lines_is_told(caplog: pytest.LogCaptureFixture) -> None:
    configured({"nowhere": "{}", "run": '{ name = "arg:x" }', "export": '{ name = "x" }'})
    with measured():
        shop()
    assert len(warnings_of(caplog)) == 3


def _own_tools(tap: metertap.Tap) -> Any:
    report = json.loads(json.dumps(tap.diagnosis()))
    (item,) = (
        item for item in report["instrumentations"] if item["library"] == "[tool.metertap.tools]"
    )
    return item["patches"]


def test_a_line_of_a_module_that_is_not_imported_waits_under_its_own_name() -> None:
    configured({"run": BY_ARGUMENT})
    with measured() as tap:
        assert _own_tools(tap) == [
            {"module": "toolshop.server:run", "state": "waiting", "bound": [], "problem": None}
        ]
        assert "toolshop.server" not in sys.modules
        shop()
        (patch,) = _own_tools(tap)
        assert (patch["state"], patch["bound"]) == ("installed", ["toolshop.server:run"])


@pytest.mark.parametrize("text", ["[tool.metertap]\ntools = 5", "[[tool.metertap.tools]]\na = 1"])
def test_what_is_no_table_is_one_warning(text: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("pyproject.toml").write_text(text)
    assert settings.read().tools == {}
    (warning,) = warnings_of(caplog)
    assert warning.startswith("tools in pyproject.toml=")
    assert warning.endswith("(a table is needed); {} is taken")


MAIN = """
import metertap

def before():
    pass

held = {"before": before}
tap = metertap.instrument(json_endpoint=False)

def after():
    pass

before()
held["before"]()
after()
tools = metertap.get_all_metrics()["tool_metrics"]
print({name: item["total_calls"] for name, item in tools.items()})
"""


def test_of_main_what_is_defined_before_is_seen_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    Path("pyproject.toml").write_text(
        '[tool.metertap.tools]\n"__main__:before" = {}\n"__main__:after" = {}\n'
    )
    ran = subprocess.run([sys.executable, "main.py"], capture_output=True, text=True, check=True)
    assert ran.stdout == "{'before': 1}\n"
    assert ran.stderr.count("metertap: ") == 1
    assert "__main__:after does not exist yet" in ran.stderr


def test_nothing_of_arguments_or_results_is_in_the_document() -> None:
    marker = "m4rk3r"
    configured(
        {
            "ToolServer.dispatch": '{ name = "arg:tool_name", known = "attr:tools" }',
            "ToolServer.receive": '{ name = "arg:message.tool", failed = "key:error" }',
        }
    )
    with measured() as tap:
        server = shop().server
        server.dispatch("search", {"key": marker})
        server.dispatch(marker)
        _swallow(server.dispatch, "search", ending=KeyError(marker))
        server.receive({"tool": "buy", "error": marker})
        server.receive({"tool": [marker]})
        with metertap.measure_tool(marker[:-1]):
            server.dispatch(marker[:-1])
        document = json.dumps([metertap.get_all_metrics()["tool_metrics"], tap.diagnosis()])
    assert marker not in document
