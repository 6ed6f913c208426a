"""One session with an MCP server that only lists its definitions, over any transport.

It does not use the `mcp` package: that returns objects, and what is measured is the text that the
server sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

from metertap._version import __version__
from metertap.text import printable
from metertap.weight.definitions import Definition, definition, elements, members

PROTOCOL = "2025-11-25"
MOST_BYTES = 16 * 2**20
"""The most bytes that a server may send in all."""
_MOST_PAGES = 1000
_MOST_TOOLS = 10_000
_MOST_SHOWN = 80


class Unusable(Exception):
    """A server whose definitions could not be read; the text is one line that says why."""


class Transport(Protocol):
    """A transport of messages to a server and back. All methods raise only Unusable."""

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""

    def agree(self, version: str) -> None:
        """Note the protocol version that the server wants."""

    def receive(self) -> str:
        """Wait for the next message, and return its text."""


class Deadline:
    """The time limit of a session."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return how many seconds are left; raise Unusable if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.missed()
        return left

    def missed(self) -> Unusable:
        """Return the error to raise once the time is up."""
        return Unusable(f"it has not answered within {self.seconds:g} s")


class Tool(NamedTuple):
    """One tool as a server lists it."""

    name: str
    text: str
    """The definition, as the server sent it."""
    size: Definition


class Listing(NamedTuple):
    """The definitions that a server lists."""

    server: str
    version: str
    tools: list[Tool]
    prompts: int
    resources: int


def listing(transport: Transport) -> Listing:
    """Ask a server for everything that it lists. Raises Unusable."""
    try:
        return _listing(transport)
    except RecursionError:  # each function that walks through an answer may recurse too deep
        raise Unusable("what it sends is nested too deeply") from None


def _listing(transport: Transport) -> Listing:
    talk = _Talk(transport)
    answer, _ = talk.ask("initialize", _introduction())
    transport.agree(str(answer.get("protocolVersion")))
    transport.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    capabilities = _dict(answer.get("capabilities"))
    server = _dict(answer.get("serverInfo"))
    listed = (tool for text in talk.pages("tools/list", capabilities) for tool in _tools(text))
    tools = [*islice(listed, _MOST_TOOLS + 1)]
    if len(tools) > _MOST_TOOLS:
        raise Unusable(f"it lists more than {_MOST_TOOLS:,} tools")
    prompts, resources = (
        sum(_count(text, kind) for text in talk.pages(f"{kind}/list", capabilities))
        for kind in ("prompts", "resources")
    )
    return Listing(
        str(server.get("name", "")), str(server.get("version", "")), tools, prompts, resources
    )


def _introduction() -> dict[str, Any]:
    return {
        "protocolVersion": PROTOCOL,
        "capabilities": {},
        "clientInfo": {"name": "metertap weight", "version": __version__},
    }


class _Talk:
    """A client that sends one request after another, and reads the answers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._number = 0

    def ask(self, method: str, params: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the result of a request, and the text of the whole answer."""
        self._number += 1
        self._transport.send(
            {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        )
        while True:
            text = self._transport.receive()
            message = _message(text)
            if "method" in message:
                if isinstance(message.get("id"), str | int):
                    self._transport.send(_answer_to(message))
            elif message.get("id") == self._number:
                break
        if "result" not in message:
            told = _dict(message.get("error")).get("message", "an error")
            raise Unusable(f"it answers {method} with: {shown(str(told))}")
        return _dict(message["result"]), text

    def pages(self, method: str, capabilities: dict[str, Any]) -> Iterator[str]:
        """Yield the text of each page of a list; none if the server has no such list."""
        if method.partition("/")[0] not in capabilities:
            return
        cursor: Any = None
        for _ in range(_MOST_PAGES):
            result, text = self.ask(method, {} if cursor is None else {"cursor": cursor})
            yield text
            cursor = result.get("nextCursor")
            if cursor is None:
                return
            if not isinstance(cursor, str):
                raise Unusable("what it says of its next page is no text")
        raise Unusable(f"its list has more than {_MOST_PAGES} pages")


def _answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request of the server: only a ping, since the client offers nothing else."""
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
    if request["method"] == "ping":
        return {**answer, "result": {}}
    return {**answer, "error": {"code": -32601, "message": "Method not found"}}


def _message(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Unusable(f"it sends what is no message of MCP: {shown(text)}")
    return message


def _tools(text: str) -> Iterator[Tool]:
    for start, end in _listed(text, "tools"):
        own = text[start:end]
        name = _dict(json.loads(own)).get("name")
        if not isinstance(name, str):
            raise Unusable(f"it lists a tool without a name: {shown(own)}")
        yield Tool(name, own, definition(own))


def _count(text: str, kind: str) -> int:
    return sum(1 for _ in _listed(text, kind))


def _listed(text: str, kind: str) -> Iterator[tuple[int, int]]:
    """Yield the place of each element of `result.tools`, or the like, in the text of an answer."""
    result = _member(text, _first(text), "result")
    listed = None if result is None else _member(text, result, kind)
    if listed is None or text[listed] != "[":
        raise Unusable(f"its list of {kind} is none: {shown(text)}")
    return elements(text, listed)


def _member(text: str, start: int, wanted: str) -> int | None:
    if text[start] != "{":
        return None
    # The last of equal names counts, as in JSON parsers.
    places = {name: begins for name, begins, _ in members(text, start)}
    return places.get(wanted)


def _first(text: str) -> int:
    return len(text) - len(text.lstrip())


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def shown(text: str) -> str:
    """Return the beginning of what a server sent, as one line."""
    text = text.strip()
    return printable(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…") or "(nothing)"
