"""One request of an MCP server, from its arrival to its answer, in both versions of the SDK.

A `Request` is made where every request of a server arrives, and ended where its answer leaves; it
records one operation. A request for a tool is that tool's call as well, and owns the call's frame.
The layers between (`metertap_instrumentation.tools.mcp.handlers`) find it there and note what only
they see: when the handler began and ended, what it raised, whether the tool exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from metertap import catalogue, faults, outcomes
from metertap.measuring import calls
from metertap.measuring.calls import ENDED, INSTANCE, OWNER, SERIES, STARTED, Frame, clock
from metertap.outcomes import Ending
from metertap.recording.buffer import was_put
from metertap.state import recorder
from metertap_instrumentation.tools.mcp import errors, weights
from metertap_instrumentation.tools.mcp.operations import (
    NAMING,
    UNKNOWN,
    Kind,
    Transport,
)
from metertap_instrumentation.tools.mcp.served import Served, name_in, prompts

if TYPE_CHECKING:
    from metertap.recording import ToolSeries

CANCELLED = Ending(outcomes.CANCELLED, "CancelledError")
INTERIM = Ending(outcomes.INTERIM)
TOOL_ERROR = Ending(outcomes.TOOL_ERROR, outcomes.TOOL_ERROR)
MALFORMED = Ending(outcomes.CALLER_ERROR, str(errors.INVALID_PARAMS))

CLAIMED = "claimed"
CALLED = "called"
"""Notes in a frame's entry `INSTANCE`, until its `Request` is made: that a framework dispatches the
call, and that it has called the handler's function."""

_LONGEST_CHAIN = 20
"""The most exceptions of one chain that are looked at: chains may be circular."""
R = TypeVar("R", bound="Request")
_current = calls.current.get


def keep(kind: Kind, frame: Frame, arrived: float, answer: Mapping[str, Any]) -> bool:
    """Record a tool call that went well; return whether that could be done at once.

    It does what `calls.leave` does, with one tuple for all records of the call.
    """
    now = clock()
    tool: ToolSeries = frame[0]
    route, content = kind.route, answer.get("content")
    if route is None or content is None or kind.tool is not tool:
        return False
    seconds = (frame[9] or now) - frame[6]
    if seconds < 0.0:
        seconds = 0.0
    if weight := kind.weight:
        size: int = weight.size_of_content(content) if content else weights.size(weight, answer)
        call: tuple[float, ...] = (now, size, seconds, now - arrived)
    else:
        call = (now, seconds, now - arrived)
    # An interrupt comes before this, and the call is given up, or its traceback tells where it
    # came.
    frame[0] = frame[1] = None
    try:
        route.keep(call)
    except BaseException as error:
        if not was_put(error):
            tool.left()
        raise
    if frame[3] is True:
        tool.looked_up(True, frame[4], seconds)
    return True


def request_of(frame: Frame, kind: Any = None) -> Request:
    """Return the request of the call of `frame`, made on first use.

    `kind` is that of a call that was given up.
    """
    owner = frame[OWNER]
    if isinstance(owner, Request):
        return owner
    request = Request()
    if owner is not None:
        kind = owner
        frame[OWNER] = request
    request.served, request.kind, request.name = kind.served, kind, kind.name
    request.frame, request.started = frame, frame[STARTED]
    said = frame[INSTANCE]
    if said is not None:
        request.is_claimed = True
        request._has_begun = request._is_called = said is CALLED
    return request


class Request:
    """One request; for the method `tools/call`, a tool call as well."""

    counted_by: object = calls.PATCH

    # Defaults of the class: most requests never set them, and save the assignments.
    frame: Frame | None = None
    """The call's frame, if the request is for a tool."""
    known: bool | None = None
    """Whether a tool of that name exists; None while that is unknown."""
    is_ended = False
    """Whether the request has been recorded."""
    is_claimed = False
    """Whether a framework's dispatch reports on this very call, so that inner layers do not."""
    noted: Ending | None = None
    """How the call really ended if its answer is an error, as noted by an inner layer."""
    definition: Any = None
    """The tool as a server of mcp 1.x lists it, if it does."""
    cancel_requested: Any = None
    """The event of mcp 2.x that tells that the client has cancelled the request."""
    params: Mapping[str, Any] | None = None
    """The parameters of a request of mcp 2.x for no tool or prompt."""
    answer: Mapping[str, Any] | None = None
    """The fields of the answer to a tool call, if its client gets one."""
    _has_begun = False
    """Whether an inner layer has noted when the handler began."""
    _is_called = False
    """Whether the handler's own function has been called."""
    is_told = False
    """Whether the handler's function has just said itself that it returned."""
    _error = 0
    """The id of the exception that ended the handler."""

    served: Served
    kind: Kind
    name: Any
    """The name of the tool or prompt, as the client gave it."""
    started: float

    @classmethod
    def arrived(
        cls: type[R],
        served: Served,
        method: str,
        fields: Mapping[str, Any] | None,
        version: str | None = None,
        transport: Transport = UNKNOWN,
    ) -> R:
        """Begin a request with these parameters; `method` is one that the server knows."""
        name = name_in(fields) if method in NAMING else None
        request = cls()
        request.begin(served, served.kind(method, name, version, transport), name)
        return request

    def begin(self, served: Served, kind: Kind, name: str | None) -> None:
        """Begin a request of this kind, with this name, which has arrived at a server."""
        self.served = served
        self.kind = kind
        self.name = name
        tool = kind.tool
        if tool is None:
            self.started = clock()
            return
        outer = _current()
        # Most often there is none, or one that has ended and was inside no other.
        if outer is None or (outer[0] is None and outer[2] is None):
            frame = calls.enter_outermost(self, tool)
        else:
            frame = calls.enter(self, tool)
        self.frame = frame
        self.started = frame[STARTED]

    @property
    def is_registered(self) -> bool:
        """Whether the call is in progress on the series of its own tool."""
        # `_OTHER` is the series of tools that do not exist, whoever calls a tool by that name.
        name = self.name
        return (
            self.frame is not None and name != catalogue.OTHER and self.frame[SERIES].name == name
        )

    def exists(self) -> None:
        """Note that the tool exists: its call is in progress on its own series from now on."""
        self.known = True
        frame = self.frame
        if frame is not None and (series := frame[0]) and series.name != self.name:
            self._move(recorder().tool_by_hand(self.name, self.served.source))

    def begins(self) -> None:
        """Note that the handler begins, or is tried again; only the first time counts.

        If several layers note that, the outermost counts.
        """
        self._error = 0  # of the last try: the next may raise the same object, or one with its id
        frame = self.frame
        if frame is None:
            return
        frame[ENDED] = None  # of the last try, too
        if not self._has_begun:
            self._has_begun = True
            frame[STARTED] = clock()

    def calls(self) -> None:
        """Note that the handler's own function is called now; only the first time counts.

        Its arguments are validated by then, and it no longer waits for a thread.
        """
        if self.frame is not None and not self._is_called:
            self._is_called = self._has_begun = True
            self.frame[STARTED] = clock()

    def returns(self) -> None:
        """Note that the handler returned, unless an inner layer has noted when it ended."""
        frame = self.frame
        if frame is not None and frame[ENDED] is None:
            frame[ENDED] = clock()

    def stops(self, error: BaseException | None = None) -> None:
        """Note that the handler ended, by raising `error` if that is given.

        Outer layers see the same error, or one raised from it: the innermost counts.
        """
        frame = self.frame
        if frame is None or (error is not None and self._has_seen(error)):
            return
        frame[ENDED] = clock()
        self._error = id(error)

    def converts(self) -> None:
        """Note that what was returned just now becomes an answer: a tool inside may be called so.

        If a function has said itself that it returned, that was when the handler ended.
        """
        if self.is_told:
            self.is_told = False
        else:
            self.stops()

    def fails(self, error: BaseException) -> None:
        """Note that the handler raised `error`, and what that means for the call."""
        self.stops(error)
        meant = errors.meaning(error)
        if meant.known is not None:
            self.known = meant.known
        self.noted = Ending(meant.outcome, meant.error_type)

    def succeed(self, answer: Mapping[str, Any]) -> None:
        """Record a tool call whose server gave this answer, which is no failure."""
        if self.frame is None or not keep(self.kind, self.frame, self.started, answer):
            self.answer = answer
            self.end()

    def end(self, ending: Ending | None = None, code: int | None = None) -> None:
        """Record the request, which was answered or never will be.

        `ending` is how it looks from outside, None if it went well; `code` is that of the JSON-RPC
        error that the client gets.
        """
        now = clock()
        self.is_ended = True
        kind, frame = self.kind, self.frame
        if ending is None and kind.name == self.name:
            self._end_well(now)
            return
        name = kind.name
        if frame is not None:
            name = self._end_call(frame, ending, now)
        elif name is not None:
            if ending is None:
                prompts.learn(self.name)
            name = prompts.label(self.name)
        error_type = None
        if ending is not None:
            error_type = ending.error_type if code is None else str(code)
        kind.record_as(name, error_type, code, now - self.started, now)

    def _end_well(self, now: float) -> None:
        """Record a request that went well, other than a tool call with a route."""
        kind, frame = self.kind, self.frame
        if frame is None:
            kind.record(now - self.started, now)
            return
        series: ToolSeries | None = frame[SERIES]
        if series:
            series.settle()
            if self.answer is not None:
                weights.answered(series, self.answer)
        calls.leave(frame, None, now)
        kind.record_as(kind.name, None, None, now - self.started, now)
        if series is not None and series is kind.tool and kind.route is None:
            kind.open_route(recorder().weight_of(series))

    def raised(self, error: BaseException, code: int | None = None) -> None:
        """Record that the request ended by raising `error`; `code` is what the client gets."""
        meant = errors.meaning(error)
        if self.known is None:
            self.known = meant.known
        self.end(Ending(meant.outcome, meant.error_type), code)

    def abandon(self) -> None:
        """Give the call up if a fault kept it from being recorded. Never raises."""
        if self.frame is not None and self.frame[SERIES]:
            with faults.guarded("mcp.request"):
                calls.give_up(self.frame)

    def _has_seen(self, error: BaseException | None) -> bool:
        """Return whether the error that ended the handler is this one, or its cause."""
        for _ in range(_LONGEST_CHAIN):
            if error is None or id(error) == self._error:
                break
            error = error.__cause__ or error.__context__
        return error is not None and id(error) == self._error

    def is_listed(self, *, failed: bool) -> bool | None:
        """Return whether the tool exists, as far as its name and answers to `tools/list` tell."""
        known = self.served.tools.knows(self.name)
        return False if known is None and self.name == catalogue.OTHER else known

    def _end_call(self, frame: Frame, ending: Ending | None, now: float) -> str:
        """End a tool call that is no plain success; return the name under which it counts."""
        failed = ending is not None and ending.is_failure
        if self.known is None:
            self.known = self.is_listed(failed=failed)
        if failed and self.noted is not None:
            ending = self.noted
        series, is_unknown = self._series(ending)
        if ending is not None and is_unknown and ending.outcome in outcomes.FAILED:
            ending = ending.of_caller()
        self._move(series)
        series.settle()
        if self.answer is not None:
            weights.answered(series, self.answer)
        calls.leave(frame, ending, now)
        return series.name

    def _move(self, series: ToolSeries) -> None:
        """Move the call in progress to `series`."""
        frame = self.frame
        if frame is not None and frame[SERIES] is not series:
            waiting: ToolSeries = frame[SERIES]
            recorder().started(series)
            frame[SERIES] = series
            recorder().never_ended(waiting)

    def _series(self, ending: Ending | None) -> tuple[ToolSeries, bool]:
        """Return the series on which the call counts, and whether its tool does not exist."""
        source = self.served.source
        found = recorder().find_tool(self.name, source)
        if found is not None and found.name != catalogue.OTHER:
            return found, False
        if self.known:
            return recorder().tool_by_hand(self.name, source), False
        if self.known is None and ending is None:
            # If a server lists nothing, an answer proves that the tool exists.
            return recorder().tool_by_hand(self.name, source), False
        return recorder().other_tool(source), self.known is False
