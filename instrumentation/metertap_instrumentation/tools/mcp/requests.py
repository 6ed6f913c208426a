"""Measuring one request of an MCP server: shared by both SDK versions."""

from __future__ import annotations

from collections.abc import Iterable

from metertap import calls, catalogue, outcome
from metertap._process import recorder
from metertap.calls import Call
from metertap.recording import ToolSeries
from metertap.recording.recorder import AttributePairs

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

    def clear(self) -> None:
        self._names.clear()


class ToolLists:
    """What servers said of their own tools in `tools/list`, by source."""

    def __init__(self) -> None:
        self._complete: set[str] = set()
        self.paged: set[str] = set()

    def listed(self, source: str, names: Iterable[str], *, last_page: bool) -> None:
        """Register the names of one answer; the last page makes the list complete."""
        for name in names:
            recorder().tool(name, source)
        if last_page:
            self._complete.add(source)
        else:
            self.paged.add(source)

    def is_complete(self, source: str) -> bool:
        """Whether a name that is not registered is known not to exist."""
        return source in self._complete

    def clear(self) -> None:
        self._complete.clear()
        self.paged.clear()


lists = ToolLists()
_prompts = KnownNames()


def forget() -> None:
    """Forget every name learnt (at undo)."""
    lists.clear()
    _prompts.clear()


class ServerRequest:
    """One request from its arrival to its answer."""

    __slots__ = ("_name", "_started_ns", "_version", "call", "method", "transport")

    def __init__(
        self,
        method: str,
        server: str,
        name: str | None,
        *,
        version: str | None = None,
        transport: str | None = None,
    ) -> None:
        """`name` is the tool's or the prompt's; `method` is one that the server knows."""
        self.method = method
        self.transport = transport
        self._name = name
        self._version = version
        self.call: Call | None = None
        if method == TOOLS_CALL and name is not None:
            source = f"mcp:{server}"
            self.call = Call(recorder(), name, source, calls.PATCH)
            series = recorder().find_tool(name, source) or recorder().other_tool(source)
            self.call.start(series)
        self._started_ns = calls.clock()

    def ended(self, result: str, error_type: str | None = None, code: int | None = None) -> None:
        """The request was answered, or never will be. `result` is how it looks from outside.

        For a tool call, what a layer inside noted goes before how the answer looks.
        """
        seconds = (calls.clock() - self._started_ns) / 1e9
        tool = None
        if self.call is not None:
            tool = self._tool_ended(self.call, result, error_type)
        if self.method == PROMPTS_GET and result == outcome.OK and self._name is not None:
            _prompts.learn(self._name)
        recorder().record_operation(
            catalogue.SERVER_DURATION, seconds, self._attributes(tool, error_type, code)
        )

    def raised(self, error: BaseException, code: int | None = None) -> None:
        """The request ended by raising `error` out of the server."""
        self.ended(
            outcome.of_exception(error),
            outcome.error_type(error) if code is None else str(code),
            code,
        )

    def _tool_ended(self, call: Call, result: str, error_type: str | None) -> str:
        latency_ms = call.leave()
        if call.outcome is not None and result != outcome.CANCELLED:
            result, error_type = call.outcome, call.error_type
        series, unknown = _series(call, result)
        if unknown and result in outcome.FAILED:
            result = outcome.CALLER_ERROR
        call.record(series, result, error_type, latency_ms)
        return series.name

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


def _series(call: Call, result: str) -> tuple[ToolSeries, bool]:
    """The series that `call` counts on, and whether its tool is known not to exist."""
    found = recorder().find_tool(call.name, call.source)
    if found is not None:
        return found, False
    known = call.known
    if known is None and lists.is_complete(call.source):
        known = False
    if known:
        return recorder().tool(call.name, call.source), False
    if known is None and result == outcome.OK:
        # A server that lists nothing: an answer is the proof that the tool exists.
        return recorder().tool_by_hand(call.name, call.source), False
    return recorder().other_tool(call.source), known is False
