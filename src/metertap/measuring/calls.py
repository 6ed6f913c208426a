"""The call in progress: where every measured call begins and ends, and how others find it.

One layer counts a call: the patch of a library, a line of the configuration file, `@metertap.tool`,
`measure_tool`. It calls `enter` before the handler runs and `leave` after it. Layers inside see
what that layer cannot: the exception behind an error result, whether the tool exists, a lookup in a
cache. They find the call through `current`, a context variable, so it follows `await`, tasks, and
threads that copy their context.

The variable holds a frame: a list, the cheapest mutable object in Python. A frame stays in its
context after its call has ended: taking it away would cost as much as putting it there, and tasks
and timers that the call started keep it in any case. Ended frames are therefore skipped, and are
cut out of the chains of newer ones, so that neither time nor memory grows with calls that are over.
"""

from __future__ import annotations

import sys
import time
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from metertap import faults
from metertap.outcomes import Ending
from metertap.recording.buffer import was_put

if TYPE_CHECKING:
    from metertap.recording import ToolSeries

clock = time.perf_counter

Frame = list[Any]
"""One call, as a list with the entries below. `functions` makes frames of the first five alone."""
SERIES = 0
"""The `ToolSeries` of the call; `LEFT_OUT` if it counts further out; None once it has ended."""
OWNER = 1
"""The `Owner` of the call."""
PARENT = 2
"""The frame of the call around this one, or None."""
ASKED = 3
"""Whether a cache was asked during the call; `NEW` if nobody has seen yet what its tool returns."""
MISSED = 4
"""Whether a cache that was asked during the call did not have it."""
NOTE = 5
"""An `Ending` that a layer inside has given, whatever the result looks like; or None."""
STARTED = 6
"""The start of the call, by `clock`."""
INSTANCE = 7
"""The `id` of the object that runs the call, where a framework needs to know."""
DEPTH = 8
"""At most so many frames are around this one, ended ones included."""
ENDED = 9
"""When the handler ended, by `clock`, if a layer inside has seen that; or None."""

NEW = "new"
"""The mark of a call whose result is to be looked at, because it is the first of its tool."""

LEFT_OUT: Any = False
"""The mark in place of the series of a call that another layer, further out, counts."""

PATCH = "patch"
"""`Owner.counted_by` of calls that the patch of a server's request kernel counts."""

_SHORTEN_FROM = 16
"""Chains of fewer frames than this are not worth being searched for ended ones."""


class Owner(Protocol):
    """The tool that a call is of, and the means by which it is counted."""

    name: str
    """The tool, as the caller named it; registered or not."""
    counted_by: object
    """The means that counts it. A call inside one of the same name and means is a recursion."""


current: ContextVar[Frame | None] = ContextVar("metertap_current_call", default=None)
"""The frame of the innermost call around this code, which may have ended."""
_current, _set_current = current.get, current.set


def enter(owner: Owner, series: ToolSeries, spent: float = 0.0, as_current: bool = True) -> Frame:
    """Begin a call that counts on `series`, or is `LEFT_OUT`, and make it the current one.

    `spent` are seconds that the call has taken before. A generator's call is not made the current
    one here: it is so during each of its steps alone.
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
    """Begin a call, as `enter` does, where none is around this code."""
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
    """Begin a call whose tick was `refused`. An interrupt passes, and there is no call."""
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
    """End a call and count it as `ending` says; None: it went well. No fault of ours passes.

    `ended` is when the handler returned, by `clock`, unless a layer inside knows better; now, by
    default. A call that was given up or left out counts nothing.
    """
    if ended is None:
        ended = clock()
    series, _, _, asked, missed, _, started, _, _, seen = frame
    # Contexts keep the frame, and shall keep nothing else of the call.
    frame[0] = frame[1] = None
    if not series:
        return
    if seen is not None:
        ended = seen if seen > started else started
    seconds = ended - started
    try:
        if ending is not None:
            frame[NOTE] = ending  # for those who kept the frame to learn how the call ended
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
    """End a call without counting it: it did not happen, or is counted elsewhere. Never raises."""
    series: ToolSeries | None = frame[SERIES]
    if series:
        series.left()
    frame[SERIES] = frame[OWNER] = None


def broken(frame: Frame | None, fault: BaseException) -> None:
    """End a call without counting it, if it has not ended: `fault` came in the middle of that.

    What an interrupt has raised passes.
    """
    if isinstance(frame, list):  # a call of a model is another object, and counts no tool
        give_up(frame)
    faults.fault("measure", fault)


def give_up_abandoned() -> None:
    """End the innermost call in this context without counting it, if nobody can end it any more.

    So it is where an interrupt came as Python was about to leave a block. To be called by who has
    no reference to the frame: whoever is to end a call has one.
    """
    if _references() <= _ABANDONED:
        frame = _current()
        if frame is not None and frame[SERIES] is not None:
            give_up(frame)


def _references() -> int:
    frame = _current()
    return sys.getrefcount(frame)


def _of_abandoned() -> int:
    """Count the references to a frame that the context alone has."""
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
    """Return the frame of the innermost call around this code that has not ended and counts."""
    frame = current.get()
    while frame is not None and not frame[SERIES]:
        frame = frame[PARENT]
    return frame


def _unended(frame: Frame | None) -> Frame | None:
    """Return `frame`, or the nearest around it that has not ended, and unlink those between."""
    ended = []
    while frame is not None and frame[SERIES] is None:
        ended.append(frame)
        frame = frame[PARENT]
    for passed in ended:
        passed[PARENT] = frame
    return frame


def _depth_in(parent: Frame) -> int:
    """Return the depth of a frame inside `parent`; at powers of two, shorten the chain first.

    So a chain is at most twice as long as the calls that were in progress at once, and shortening
    it costs each call a bounded time, however deep a recursion is.
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
    """Return whether a call of `name` around this code is the one that would be counted now.

    By other means it is the same call, seen by two layers (decorated twice, or patched and
    decorated). By the same means it is a tool that calls itself, and makes a call of its own. The
    innermost call of that name decides, with all layers that have left it out.
    """
    frame = current.get()
    while frame is not None:
        owner: Owner = frame[OWNER]  # first: when a call ends its owner goes last
        series = frame[SERIES]
        if series is not None and owner.name == name:
            if owner.counted_by == counted_by:
                return False
            if series is not LEFT_OUT:
                return True
        frame = frame[PARENT]
    return False


def tool_of_lookup(*, hit: bool) -> ToolSeries | None:
    """Return the series of the call in progress here, and note its lookup on it."""
    frame = in_progress()
    if frame is None:
        return None
    frame[ASKED] = True
    if not hit:
        frame[MISSED] = True
    series: ToolSeries = frame[SERIES]
    return series
