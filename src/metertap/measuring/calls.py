"""The call in progress: how every measured call begins and ends, and how other layers find it.

One layer counts a call: a library's patch, a line of the configuration file, `@metertap.tool` or
`measure_tool`. It calls `enter` before the handler runs and `leave` after it. Layers further inside
see what that layer cannot: the exception behind an error result, whether the tool exists, a cache
lookup. They find the call through `current`, a context variable, which follows `await`, tasks, and
threads that copy their context.

The variable holds a frame: a list, Python's cheapest mutable object. An ended frame stays in its
context: removing it would cost as much as setting it, and tasks and timers that the call started
keep it anyway. So ended frames are skipped, and are unlinked from the chains of newer ones, so that
neither time nor memory grows with ended calls.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from metertap import faults
from metertap.outcomes import Ending
from metertap.recording.buffer import was_put
from metertap.unmocked import unmocked

if TYPE_CHECKING:
    from metertap.recording import ToolSeries

clock = unmocked.perf_counter

Frame = list[Any]
"""One call, as a list with the entries below. `functions` makes frames of the first five only."""
SERIES = 0
"""The `ToolSeries` of the call; `LEFT_OUT` if an outer layer counts it; None once it has ended."""
OWNER = 1
"""The `Owner` of the call."""
PARENT = 2
"""The frame of the call around this one, or None."""
ASKED = 3
"""Whether the call asked a cache; `NEW` if no result of the tool has been looked at yet."""
MISSED = 4
"""Whether a cache that the call asked had a miss."""
NOTE = 5
"""An `Ending` given by an inner layer, which overrides what the result looks like; or None."""
STARTED = 6
"""The start of the call, by `clock`."""
INSTANCE = 7
"""The `id` of the object that runs the call, where a framework needs to know it."""
DEPTH = 8
"""The most frames that may be around this one, including ended ones."""
ENDED = 9
"""The end of the handler, by `clock`, if an inner layer has seen it; or None."""

NEW = "new"
"""The mark of the tool's first call, whose result is looked at."""

LEFT_OUT: Any = False
"""The mark in place of the series of a call that an outer layer counts."""

PATCH = "patch"
"""`Owner.counted_by` of calls that the patch of an MCP server's request kernel counts."""

_SHORTEN_FROM = 16
"""Chains of fewer frames than this are not searched for ended ones."""


class Owner(Protocol):
    """The tool of a call, and the means that counts it."""

    name: str
    """The tool's name as the caller gave it, registered or not."""
    counted_by: object
    """The means that counts it: a call within one of the same name and means is a recursion."""


current: ContextVar[Frame | None] = ContextVar("metertap_current_call", default=None)
"""The innermost call's frame in this context; it may have ended."""
_current, _set_current = current.get, current.set


def enter(owner: Owner, series: ToolSeries, spent: float = 0.0, as_current: bool = True) -> Frame:
    """Begin a call that counts on `series`, or is `LEFT_OUT`, and make it the current one.

    `spent` is the number of seconds that the call has taken so far. With `as_current` False, a
    generator's call is not made current here, since it is so only during each step.
    """
    parent = _current()
    # Most often there is none, or one that has ended and was inside no other.
    if parent is None or (parent[0] is None and parent[2] is None):
        frame: Frame = [series, owner, None, False, False, None, 0.0, None, 0, None]
    else:
        parent = _unended(parent)
        depth = 0 if parent is None else _depth_in(parent)
        frame = [series, owner, parent, False, False, None, 0.0, None, depth, None]
    try:
        if series:
            tick = series.tick
            tick()
        if as_current:
            _set_current(frame)
        frame[STARTED] = clock() - spent
    except BaseException as refused:
        enter_again(frame, refused, spent, as_current)
    return frame


def enter_outermost(owner: Owner, series: ToolSeries) -> Frame:
    """Begin a call as `enter` does, in a context without another call in progress."""
    frame = [series, owner, None, False, False, None, 0.0, None, 0, None]
    tick = series.tick
    try:
        tick()
        _set_current(frame)
        frame[6] = clock()
    except BaseException as refused:
        enter_again(frame, refused)
    return frame


def enter_again(
    frame: Frame, refused: BaseException, spent: float = 0.0, as_current: bool = True
) -> None:
    """Begin a call whose `tick` raised `refused`. An interrupt passes, and then no call begins."""
    if type(refused) is not StopIteration:
        give_up(frame)
        raise refused
    frame[SERIES].due()
    try:
        if as_current:
            _set_current(frame)
        frame[STARTED] = clock() - spent
    except BaseException:
        give_up(frame)
        raise


def leave(frame: Frame, ending: Ending | None = None, ended: float | None = None) -> None:
    """End a call and count it by `ending`; None means that it went well. Raises no fault.

    `ended` is when the handler returned, by `clock`, unless an inner layer has noted that; default:
    now. A call that was given up or left out counts nothing.
    """
    if ended is None:
        ended = clock()
    series, _, _, asked, missed, _, started, _, _, seen = frame
    # Contexts keep the frame, which must not keep anything else of the call.
    frame[0] = frame[1] = None
    if not series:
        return
    if seen is not None:
        ended = seen if seen > started else started
    seconds = ended - started
    try:
        if ending is not None:
            frame[NOTE] = ending  # whoever kept the frame may read how the call ended
            series.end(ending.outcome, ending.error_type, seconds * 1000.0, seconds)
            return
        append = series.append
        append(seconds)
        series.ended = ended
        if asked is True:
            series.looked_up(True, missed, seconds)
    except BaseException as fault:
        if not was_put(fault):
            series.left()
        faults.fault("measure", fault)


def give_up(frame: Frame) -> None:
    """End a call without counting it, since it counts elsewhere or did not happen. Never raises."""
    series: ToolSeries | None = frame[SERIES]
    if series:
        series.left()
    frame[SERIES] = frame[OWNER] = None


def broken(frame: Frame | None, fault: BaseException) -> None:
    """End a call without counting it, if it has not ended, after `fault` interrupted its end.

    An interrupt passes.
    """
    if isinstance(frame, list):  # a model call's is another object, and counts no tool
        give_up(frame)
    faults.fault("measure", fault)


def give_up_abandoned() -> None:
    """End the innermost call of this context without counting it, if no code can end it any more.

    That happens if an interrupt came just as Python left a block. The caller must not hold a
    reference to the frame: whoever is to end a call holds one, and references are counted.
    """
    if _references() <= _ABANDONED:
        frame = _current()
        if frame is not None and frame[SERIES] is not None:
            give_up(frame)


def _references() -> int:
    frame = _current()
    return sys.getrefcount(frame)


def _of_abandoned() -> int:
    """Return the number of references to a frame that only the context holds."""
    _set_current([LEFT_OUT, None, None, False, False])
    return _references()


_ABANDONED = Context().run(_of_abandoned)


def around() -> Frame | None:
    """Return the frame of the innermost call around this code that has not ended."""
    frame = _current()
    if frame is None or frame[SERIES] is not None:
        return frame
    return None if frame[PARENT] is None else _unended(frame)


def in_progress() -> Frame | None:
    """Return the frame of the innermost call around this code that has not ended, if it counts."""
    frame = current.get()
    while frame is not None and not frame[SERIES]:
        frame = frame[PARENT]
    return frame


def _unended(frame: Frame | None) -> Frame | None:
    """Return `frame`, or the nearest frame around it that has not ended; unlink those between."""
    ended = []
    while frame is not None and frame[SERIES] is None:
        ended.append(frame)
        frame = frame[PARENT]
    for passed in ended:
        passed[PARENT] = frame
    return frame


def _depth_in(parent: Frame) -> int:
    """Return the depth of a frame inside `parent`; at powers of two, shorten the chain first.

    So a chain has at most twice as many frames as there were calls in progress at once, and
    shortening costs each call a bounded time, however deep a recursion is.
    """
    depth: int = (parent[DEPTH] if len(parent) > DEPTH else 0) + 1
    if depth < _SHORTEN_FROM or depth & (depth - 1):
        return depth
    depth = 1
    outer = parent[PARENT] = _unended(parent[PARENT])
    while outer is not None:
        depth += 1
        inner, outer = outer, _unended(outer[PARENT])
        inner[PARENT] = outer
    return depth


def counted_already(name: str, counted_by: object = None) -> bool:
    """Return whether an outer call of `name` is the same call as the one that begins here.

    Counted by other means, it is the same call, seen by two layers (decorated twice, or patched and
    decorated). Counted by the same means, it is a recursion, and a call of its own. The innermost
    call of that name decides, and the layers that left it out with it.
    """
    frame = current.get()
    while frame is not None:
        owner: Owner = frame[OWNER]  # first: at the end of a call, the owner is removed last
        series = frame[SERIES]
        if series is not None and owner.name == name:
            if owner.counted_by == counted_by:
                return False
            if series is not LEFT_OUT:
                return True
        frame = frame[PARENT]
    return False


def tool_of_lookup(*, hit: bool) -> ToolSeries | None:
    """Return the series of the call in progress, and note on it a lookup in a cache."""
    frame = in_progress()
    if frame is None:
        return None
    frame[ASKED] = True
    if not hit:
        frame[MISSED] = True
    series: ToolSeries = frame[SERIES]
    return series
