"""Measuring one request of an MCP server: shared by both SDK versions."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from metertap import calls, catalogue, outcome
from metertap._process import recorder
from metertap.calls import Call
from metertap.recording import ToolSeries
from metertap.recording.recorder import AttributePairs
from metertap_instrumentation.tools.mcp import errors

INITIALIZE = "initialize"
TOOLS_CALL = "tools/call"
TOOLS_LIST = "tools/list"
PROMPTS_GET = "prompts/get"

_NAMES_LIMIT = 1000


class KnownNames:
    """Names that may become a label: learnt from answers, never from requests, and bounded."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def learn(self, name: str) -> None:
        """`name` exists: the other side answered for it."""
        if len(self._names) < _NAMES_LIMIT:
            self._names.add(name)

    def label(self, name: str) -> str:
        """`name` itself if it is known, else `_OTHER`."""
        return name if name in self._names else catalogue.OTHER


class ToolList:
    """What one server said of its own tools in `tools/list`, perhaps page by page."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._complete = False
        self._next: str | None = None
        self.is_paged = False

    def add(self, names: Iterable[str], cursor: str | None, next_cursor: str | None) -> None:
        """Names of the page at `cursor`. The last page of an unbroken row completes the list."""
        self._names.update(names)
        self.is_paged = self.is_paged or next_cursor is not None
        if cursor is None or cursor == self._next:
            self._complete = self._complete or next_cursor is None
            self._next = next_cursor

    def knows(self, name: str) -> bool | None:
        """Whether there is such a tool; None while that is not known."""
        return True if name in self._names else False if self._complete else None


_lists: weakref.WeakKeyDictionary[Any, ToolList] = weakref.WeakKeyDictionary()
_prompts = KnownNames()


def tool_list(server: Any) -> ToolList:
    """The list of one low-level server."""
    return _lists.setdefault(server, ToolList())


def source_of(server: Any) -> str:
    """What keeps equal tool names of two servers apart."""
    return f"mcp:{server.name}"


def tools_listed(
    server: Any, names: Iterable[str], cursor: str | None, next_cursor: str | None
) -> None:
    """A server answered `tools/list`: its tools are in the document from now on."""
    names = list(names)
    tool_list(server).add(names, cursor, next_cursor)
    for name in names:
        recorder().tool(name, source_of(server))


class ServerRequest:
    """One request from its arrival to its answer."""

    __slots__ = ("_name", "_server", "_started", "_version", "call", "method", "transport")

    def __init__(
        self,
        method: str,
        server: Any,
        name: str | None,
        *,
        version: str | None = None,
        transport: str | None = None,
    ) -> None:
        """`name` is the tool's or the prompt's; `method` is one that the server knows."""
        self.method = method
        self.transport = transport
        self._server = server
        self._name = name
        self._version = version
        self.call: Call | None = None
        self._started = calls.clock()
        if method == TOOLS_CALL:
            # Without a name it is malformed: a call of no tool that there is.
            source = source_of(server)
            self.call = Call(recorder(), name or catalogue.OTHER, source, calls.PATCH)
            series = recorder().find_tool(self.call.name, source) or recorder().other_tool(source)
            self.call.start(series)

    def ended(self, result: str, error_type: str | None = None, code: int | None = None) -> None:
        """The request was answered, or never will be. `result` is how it looks from outside.

        Where that is a failure, what a layer inside noted on the tool call says which.
        """
        seconds = calls.clock() - self._started
        tool = None
        if self.call is not None:
            tool = self._tool_ended(self.call, result, error_type)
        if self.method == PROMPTS_GET and result == outcome.OK and self._name is not None:
            _prompts.learn(self._name)
        answered = str(code) if code is not None else error_type
        recorder().record_operation(
            catalogue.SERVER_DURATION, seconds, self._attributes(tool, answered, code)
        )

    def raised(self, error: BaseException, code: int | None = None) -> None:
        """The request ended by raising `error`; `code` is what the client is told, if known."""
        meant = errors.meaning(error)
        if self.call is not None and self.call.known is None:
            self.call.known = meant.known
        self.ended(meant.outcome, meant.error_type, code)

    def abandon(self) -> None:
        """Leave the call if a fault of ours kept it from being ended."""
        if self.call is not None and self.call.in_progress:
            self.call.give_up()

    def _tool_ended(self, call: Call, result: str, error_type: str | None) -> str:
        started, seconds = call.leave()
        failed = result in outcome.FAILED or result == outcome.CALLER_ERROR
        if failed and call.outcome is not None:
            result, error_type = call.outcome, call.error_type
        series, unknown = self._series(call, result)
        if unknown and result in outcome.FAILED:
            result = outcome.CALLER_ERROR
        if series is not started:
            recorder().never_ended(started)
            recorder().started(series)
        if result == outcome.OK:
            calls.end(series, seconds, None)
        else:
            series.end(result, error_type, seconds * 1000.0, seconds)
        return series.name

    def _series(self, call: Call, result: str) -> tuple[ToolSeries, bool]:
        """The series that `call` counts on, and whether its tool is known not to exist."""
        found = recorder().find_tool(call.name, call.source)
        if found is not None and found.name != catalogue.OTHER:
            return found, False
        known = call.known
        if known is None:
            known = tool_list(self._server).knows(call.name)
        if known:
            return recorder().tool(call.name, call.source), False
        if known is None and result == outcome.OK:
            # A server that lists nothing: an answer is the proof that the tool exists.
            return recorder().tool_by_hand(call.name, call.source), False
        return recorder().other_tool(call.source), known is False

    def _attributes(
        self, tool: str | None, error_type: str | None, code: int | None
    ) -> AttributePairs:
        pairs = [(catalogue.MCP_METHOD, self.method)]
        if tool is not None:
            pairs.append((catalogue.TOOL_NAME, tool))
            pairs.append((catalogue.OPERATION_NAME, catalogue.EXECUTE_TOOL))
        elif self.method == PROMPTS_GET and self._name is not None:
            pairs.append((catalogue.PROMPT_NAME, _prompts.label(self._name)))
        if error_type is not None:
            pairs.append((catalogue.ERROR_TYPE, error_type))
        if code is not None:
            pairs.append((catalogue.RPC_STATUS, str(code)))
        if self.transport is not None:
            pairs.append((catalogue.NETWORK_TRANSPORT, self.transport))
        if self._version is not None:
            pairs.append((catalogue.MCP_PROTOCOL_VERSION, self._version))
        return tuple(pairs)
