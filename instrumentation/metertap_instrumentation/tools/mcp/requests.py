"""Measuring one request of an MCP server: shared by both SDK versions."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from metertap import catalogue, outcomes
from metertap.measuring import calls
from metertap.measuring.calls import Call
from metertap.outcomes import Ending
from metertap.recording import ToolSeries
from metertap.state import recorder
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
        if name not in self._names and len(self._names) < _NAMES_LIMIT:
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


_recorder = recorder()
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
        _recorder.tool(name, source_of(server))


class ServerRequest(Call):
    """One request from its arrival to its answer; a tool call, where its method is that."""

    counted_by = calls.PATCH
    _recorder = _recorder

    def __init__(
        self,
        method: str,
        server: Any,
        source: str,
        name: object,
        version: str | None = None,
        transport: str | None = None,
    ) -> None:
        """`name` is the tool's or the prompt's; `method` is one that the server knows."""
        self.method = method
        self.source = source
        self.transport = transport
        self.version = version
        self._server = server
        # Without a name a tool call is malformed: one of no tool that there is.
        self.name = name = name if isinstance(name, str) and name else catalogue.OTHER
        if method == TOOLS_CALL:
            self.start(_recorder.find_tool(name, source) or _recorder.other_tool(source))
        else:
            self._started = calls.clock()

    @property
    def call(self) -> Call | None:
        """The request as a tool call, if it is one."""
        return None if self.frame is None else self

    def exists(self) -> None:
        """Said by a layer inside: from now on it is in progress as a call of its own tool."""
        self.known = True
        frame = self.frame
        if frame is not None and self.in_progress and not self.is_registered:
            waiting: ToolSeries = frame[calls.SERIES]
            frame[calls.SERIES] = series = _recorder.tool(self.name, self.source)
            _recorder.started(series)
            _recorder.never_ended(waiting)

    def ended(self, result: str, error_type: str | None = None, code: int | None = None) -> None:
        """The request was answered, or never will be. `result` is how it looks from outside.

        Where that is a failure, what a layer inside noted on the tool call says which.
        """
        frame = self.frame
        label = None
        if frame is None:
            seconds = calls.clock() - self._started
            if self.method == PROMPTS_GET:
                if result == outcomes.OK:
                    _prompts.learn(self.name)
                label = _prompts.label(self.name)
        else:
            now = calls.clock()
            seconds = now - self._started
            started = frame[calls.SERIES]
            frame[calls.SERIES] = None
            if result == outcomes.OK and started.name == self.name:
                started.append(seconds)
                started.ended = now
                if frame[calls.HIT] or frame[calls.MISSED]:
                    started.looked_up(frame[calls.HIT], frame[calls.MISSED], seconds)
                label = self.name
            else:
                label = self._tool_ended(started, seconds, result, error_type)
        answered = error_type if code is None else str(code)
        key = (self.method, label, answered, code, self.transport, self.version)
        metric = catalogue.SERVER_DURATION
        operation = _recorder.find_operation(metric, key)
        if operation is None:
            operation = _recorder.operation(key, metric, self._attributes(label, answered, code))
        operation.record(seconds)
        self._let_go()

    def raised(self, error: BaseException, code: int | None = None) -> None:
        """The request ended by raising `error`; `code` is what the client is told, if known."""
        meant = errors.meaning(error)
        if self.known is None:
            self.known = meant.known
        self.ended(meant.outcome, meant.error_type, code)

    def abandon(self) -> None:
        """Leave the call if a fault of ours kept it from being ended."""
        if self.in_progress:
            self.give_up()

    def _tool_ended(
        self, started: ToolSeries, seconds: float, result: str, error_type: str | None
    ) -> str:
        failed = result in outcomes.FAILED or result == outcomes.CALLER_ERROR
        if failed and self.outcome is not None:
            result, error_type = self.outcome, self.error_type
        series, unknown = self._series(result)
        if unknown and result in outcomes.FAILED:
            result, error_type = Ending(result, error_type).of_caller()
        if series is not started:
            _recorder.never_ended(started)
            _recorder.started(series)
        if result == outcomes.OK:
            calls.end(series, seconds, None)
        else:
            series.end(result, error_type, seconds * 1000.0, seconds)
        return series.name

    def _series(self, result: str) -> tuple[ToolSeries, bool]:
        """The series that the call counts on, and whether its tool is known not to exist."""
        found = _recorder.find_tool(self.name, self.source)
        if found is not None and found.name != catalogue.OTHER:
            return found, False
        known = self.known
        if known is None:
            known = tool_list(self._server).knows(self.name)
        if known:
            return _recorder.tool(self.name, self.source), False
        if known is None and result == outcomes.OK:
            # A server that lists nothing: an answer is the proof that the tool exists.
            return _recorder.tool_by_hand(self.name, self.source), False
        return _recorder.other_tool(self.source), known is False

    def _attributes(
        self, label: str | None, error_type: str | None, code: int | None
    ) -> dict[str, str]:
        attributes = {catalogue.MCP_METHOD: self.method}
        if label is not None:
            if self.frame is None:
                attributes[catalogue.PROMPT_NAME] = label
            else:
                attributes[catalogue.TOOL_NAME] = label
                attributes[catalogue.OPERATION_NAME] = catalogue.EXECUTE_TOOL
        if error_type is not None:
            attributes[catalogue.ERROR_TYPE] = error_type
        if code is not None:
            attributes[catalogue.RPC_STATUS] = str(code)
        if self.transport is not None:
            attributes[catalogue.NETWORK_TRANSPORT] = self.transport
        if self.version is not None:
            attributes[catalogue.MCP_PROTOCOL_VERSION] = self.version
        return attributes
