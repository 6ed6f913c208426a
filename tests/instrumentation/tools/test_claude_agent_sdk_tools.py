"""Claude Agent SDK: calls of tools in the process, as Claude's command line asks for them.

That program is the boundary: here a transport stands for it, which sends its control requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
from collections.abc import AsyncIterator, Callable
from importlib import metadata
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk")

from claude_agent_sdk import Transport, create_sdk_mcp_server, tool
from claude_agent_sdk._internal.query import Query

import metertap
from kits.tool_kit import ToolKit
from metertap import Tap
from metertap_instrumentation.libraries import parse_version
from metertap_instrumentation.tools import claude_agent_sdk as instrumentor

VERSION = parse_version(metadata.version("claude-agent-sdk"))
RUN_BY_MCP = VERSION >= (0, 2, 140)
SAYS_ERRORS = VERSION >= (0, 1, 81)  # before, the SDK dropped `is_error`
SECRET = "sk-marker-4711"

# The SDK leaves its streams to the garbage collector, measured or not.
pytestmark = [
    pytest.mark.library("claude_agent_sdk"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]


class CommandLine(Transport):
    """What Claude's program would send and get."""

    def __init__(self) -> None:
        self._requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)

    async def connect(self) -> None: ...
    async def close(self) -> None: ...
    async def end_input(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]
        while True:
            yield await self._requests.get()

    async def write(self, data: str) -> None:
        response = json.loads(data)["response"]
        self._answers[response["request_id"]].set_result(response["response"])

    def ask(self, method: str, params: Any = None, *, server: str = "shop") -> asyncio.Future[Any]:
        """Send one JSON-RPC message; the future gets the answer."""
        number = next(self._numbers)
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if not method.startswith("notifications/"):
            message["id"] = number
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[str(number)] = answer
        self._requests.put_nowait(
            {
                "type": "control_request",
                "request_id": str(number),
                "request": {"subtype": "mcp_message", "server_name": server, "message": message},
            }
        )
        return answer

    async def call(self, name: str, **arguments: Any) -> Any:
        """One `tools/call`; its answer."""
        answer = await self.ask("tools/call", {"name": name, "arguments": arguments})
        return answer["mcp_response"]


@contextlib.asynccontextmanager
async def session(*tools: Any, listed: bool = True) -> AsyncIterator[CommandLine]:
    """A session whose servers have shaken hands and told of their tools."""
    command_line = CommandLine()
    server = create_sdk_mcp_server("shop", tools=list(tools))
    query = Query(
        transport=command_line, is_streaming_mode=True, sdk_mcp_servers={"shop": server["instance"]}
    )
    await query.start()
    try:
        hello = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "claude-code", "version": "1"},
        }
        await command_line.ask("initialize", hello)
        await command_line.ask("notifications/initialized")
        if listed:
            await command_line.ask("tools/list")
        yield command_line
    finally:
        await query.close()


def text(said: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}]}


@tool("add", "Add.", {"a": int, "b": int})
async def add(arguments: dict[str, Any]) -> dict[str, Any]:
    return text(str(arguments["a"] + arguments["b"]))


class Odd(Exception):
    pass


def raising(error: BaseException) -> Any:
    @tool("breaks", "", {})
    async def breaks(_arguments: dict[str, Any]) -> dict[str, Any]:
        raise error

    return breaks


@tool("breaks", "", {})
async def fails_in_words(_arguments: dict[str, Any]) -> dict[str, Any]:
    return {**text("it failed"), "is_error": True}


@tool("breaks", "", {})
async def returns_nonsense(_arguments: dict[str, Any]) -> Any:
    return 5


def counted() -> dict[str, dict[str, int]]:
    return {
        name: {outcome: times for outcome, times in found["outcomes"].items() if times}
        for name, found in metertap.get_all_metrics()["tool_metrics"].items()
    }


def ran(*tools: Any, calls: list[tuple[str, dict[str, Any]]], listed: bool = True) -> list[Any]:
    async def main() -> list[Any]:
        async with session(*tools, listed=listed) as command_line:
            return [await command_line.call(name, **arguments) for name, arguments in calls]

    return asyncio.run(main())


class TestTools(ToolKit):
    source = "mcp:shop"
    instrumentation = instrumentor.INSTRUMENTATION
    raises = False
    names_are_made_up = True

    def make(self, function: Callable[..., Any]) -> Any:
        @tool(function.__name__, "", {"text": str})
        async def work(arguments: dict[str, Any]) -> dict[str, Any]:
            result = function(**arguments)
            answer = text(await result if inspect.isawaitable(result) else result)
            answer["content"].append({"type": "unknown"})  # the SDK logs that it drops this
            return answer

        return work

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        async with session(*tools) as command_line:
            answers = [await command_line.call(name, **given) for name, given in calls]
        return [answer["result"]["content"][0]["text"] for answer in answers]


def test_tools_are_in_the_document_before_their_first_call(tap: Tap) -> None:
    ran(add, calls=[])
    assert counted() == {"add": {}}


@pytest.mark.parametrize(
    ("made", "arguments", "outcome", "error_type"),
    [
        (lambda: raising(Odd("unknown tool")), {}, "exception", "Odd"),
        (lambda: raising(TimeoutError()), {}, "timeout", "TimeoutError"),
        (lambda: returns_nonsense, {}, "exception", None),
        (lambda: fails_in_words, {}, "tool_error" if SAYS_ERRORS else "ok", None),
    ],
)
def test_a_call_is_counted_as_what_it_ended(
    tap: Tap, made: Callable[[], Any], arguments: dict[str, Any], outcome: str, error_type: str
) -> None:
    ran(made(), calls=[("breaks", arguments)])
    assert counted() == {"breaks": {outcome: 1}}
    found = metertap.get_all_metrics()["tool_metrics"]["breaks"]["error_types"]
    if error_type is not None:
        assert found == {error_type: 1}
    assert tap.diagnosis()["faults"] == {}


def test_arguments_that_do_not_fit_are_the_models_error(tap: Tap) -> None:
    ran(add, calls=[("add", {"a": "one", "b": 2}), ("add", {})])
    assert counted() == {"add": {"caller_error": 2}}


def test_a_tool_that_validates_by_itself_fails_by_itself(tap: Tap) -> None:
    import jsonschema

    ran(raising(jsonschema.ValidationError("Input validation error")), calls=[("breaks", {})])
    assert counted() == {"breaks": {"exception": 1}}


@pytest.mark.parametrize("listed", [True, False])
def test_a_tool_that_there_is_not_is_the_models_error(tap: Tap, listed: bool) -> None:
    ran(add, calls=[("made_up_by_the_model", {})], listed=listed)
    found = counted()
    assert found["_OTHER"] == {"caller_error": 1}
    assert set(found) <= {"_OTHER", "add"}


def test_a_call_that_the_session_ends_is_cancelled(tap: Tap) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @tool("waits", "", {})
        async def waits(_arguments: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            await asyncio.Event().wait()
            return text("never")

        async with session(waits) as command_line:
            answer = command_line.ask("tools/call", {"name": "waits", "arguments": {}})
            await asyncio.wait_for(begun.wait(), 60)
        answer.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 60)

    asyncio.run(main())
    assert counted() == {"waits": {"cancelled": 1}}


def test_servers_and_methods_that_there_are_not_are_no_tool_calls(tap: Tap) -> None:
    async def main() -> list[Any]:
        async with session(add) as command_line:
            nowhere = await command_line.ask("tools/call", {"name": "add"}, server="nowhere")
            return [nowhere, await command_line.ask("made/up")]

    assert all("error" in answer["mcp_response"] for answer in asyncio.run(main()))
    assert counted() == {"add": {}}
    assert tap.diagnosis()["faults"] == {}


def test_answers_are_what_they_were() -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("add", {"a": 1, "b": 2}),
        ("add", {"a": "one"}),
        ("breaks", {}),
        ("made_up", {}),
    ]
    plain = ran(add, raising(Odd("x")), calls=asked)
    with metertap.instrument(json_endpoint=False):
        assert ran(add, raising(Odd("x")), calls=asked) == plain
