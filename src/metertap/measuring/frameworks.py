"""Measuring what runs the tools of a framework: one function, by which all of them are called.

Which tool it is and how its call ended differ from call to call. A framework says so in a subclass
of `Handlers`; everything else (the clock, the series, what is counted already, what happens inside
the call, faults of our own) is here. The wrappers run the function between `begin` and `ended` or
`raised`, of which none ever raises.
"""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.measuring import calls
from metertap.measuring.calls import HIT, MISSED, NOTE, SERIES, STARTED, Frame, clock, current
from metertap.measuring.functions import ToolSlot
from metertap.outcomes import Ending
from metertap.patching.patch_set import Live, Target, WrapperFunction, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap.recording import ToolSeries
from metertap.state import is_enabled, recorder

_get = current.get
_set = current.set

_PLAIN = frozenset({type(None), str, int, float, bool, dict})
"""Types of results that say nothing of how a call ended, so that nobody has to be asked."""


class Handlers:
    """How the calls of one framework are named and judged.

    `source` keeps its tools apart from equal names of other libraries. Inside another's call of the
    same tool (one framework runs a tool of another's) a call is not counted once more.
    """

    source: str
    slot_class: type[ToolSlot] = ToolSlot

    def __init__(self) -> None:
        self._slots: dict[str, ToolSlot] = {}

    # What a framework says. These may raise: that is a fault, and the call goes unmeasured.

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str | None:
        """The tool that is called, `_OTHER` if there is none such; None if this is no call."""
        raise NotImplementedError

    def inside(self, _outer: Frame | None, _instance: Any, _name: str, _kwargs: Any) -> None:
        """A call is about to start inside another; it may give that one up."""

    def returned(self, _result: Any) -> Ending | None:
        """How a call ended that returned this, which is no plain value; None: well."""
        return None

    def raising(self, error: BaseException) -> Ending:
        """How a call ended that raised `error`."""
        return Ending.by(error)

    # What wrappers do

    def begin(self, instance: Any, args: Any, kwargs: Any) -> Frame | None:
        """A call starts, and is the current one; None if it is not to be counted."""
        try:
            name = self.name_of(instance, args, kwargs)
            if name is None:
                return None
            parent = _get()
            if parent is not None and (parent[0] or parent[2]):
                self.inside(calls.in_progress(), instance, name, kwargs)
                if calls.counted_already(name, self.source):
                    return None
                parent = calls.in_progress()
            else:
                parent = None
            slot = self._slots.get(name) or self._slot(name)
            series = slot.series or slot.find()
            if series is None:
                return None
            tick = series.tick
            try:
                tick()
            except StopIteration:
                series.due()
            frame: Frame = [series, slot, parent, False, False, None, 0.0, id(instance)]
            _set(frame)
            frame[STARTED] = clock()
            return frame
        except Exception as fault:
            faults.fault(f"tool {self.source}", fault)
            return None

    def ended(self, frame: Frame, result: Any) -> None:
        """The call that began with `frame` returned `result`."""
        now = clock()
        seconds = now - frame[STARTED]
        series: ToolSeries | None = frame[SERIES]
        if series is None:
            return  # given up
        ending = frame[NOTE]
        if ending is None and type(result) not in _PLAIN:
            try:
                ending = self.returned(result)
            except Exception as fault:
                faults.fault(f"tool {self.source}", fault)
        frame[SERIES] = None
        try:
            if ending is not None:
                calls.end(series, seconds, ending)
                return
            append = series.append
            append(seconds)
            series.ended = now
            if frame[HIT] or frame[MISSED]:
                series.looked_up(frame[HIT], frame[MISSED], seconds)
        except Exception as fault:
            faults.fault(f"tool {self.source}", fault)

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """The call that began with `frame` raised `error`, which passes through a wrapper."""
        now = clock()
        with faults.guarded(f"tool {self.source}"):
            hide_frame(error)
        if frame is None or frame[SERIES] is None:
            return  # not to be counted, or given up
        seconds = now - frame[STARTED]
        series: ToolSeries = frame[SERIES]
        frame[SERIES] = None
        ending = Ending.by(error)
        with faults.guarded(f"tool {self.source}"):
            ending = frame[NOTE] or self.raising(error)
        with faults.guarded(f"tool {self.source}"):
            calls.end(series, seconds, ending)

    def give_up(self, frame: Frame) -> None:
        """The call that began with `frame` goes uncounted: it is counted further in."""
        series: ToolSeries = frame[SERIES]
        frame[SERIES] = None
        recorder().never_ended(series)

    def note(self, ending: Ending) -> None:
        """Said by a layer inside a call in progress: that is how it ends, whatever it returns."""
        frame = calls.in_progress()
        if frame is not None and frame[calls.OWNER].counted_by == self.source:
            frame[NOTE] = ending

    def _slot(self, name: str) -> ToolSlot:
        slot = self.slot_class(name, self.source, counted_by=self.source)
        # Names that did not become a label are not kept, or a client could fill the memory.
        if is_enabled() and recorder().tool_by_hand(name, self.source).name == name:
            return self._slots.setdefault(name, slot)
        return slot


# The same call four times: sync and async, in wrapt's proxy and in a function that stands in for
# the other. What they could share would be one more call around each.


def plain_wrapper(handlers: Handlers) -> WrapperFunction:
    """What wrapt calls instead of a function that runs tools."""
    begin, ended, raised = handlers.begin, handlers.ended, handlers.raised

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        frame = begin(instance, args, kwargs)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            raised(frame, error)
            raise
        if frame is not None:
            ended(frame, result)
        return result

    return call


def coroutine_wrapper(handlers: Handlers) -> WrapperFunction:
    """What wrapt calls instead of an async function that runs tools."""
    begin, ended, raised = handlers.begin, handlers.ended, handlers.raised

    async def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        frame = begin(instance, args, kwargs)
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as error:
            raised(frame, error)
            raise
        if frame is not None:
            ended(frame, result)
        return result

    return call


def plain_method(attribute: str, handlers: Handlers) -> Target:
    """A method that runs tools, to be patched at the least cost."""
    begin, ended, raised = handlers.begin, handlers.ended, handlers.raised

    def make(method: Any, live: Live) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            frame = begin(self, args, kwargs) if live else None
            try:
                result = method(self, *args, **kwargs)
            except BaseException as error:
                raised(frame, error)
                raise
            if frame is not None:
                ended(frame, result)
            return result

        return call

    return stand_in(attribute, make)


def coroutine_method(attribute: str, handlers: Handlers) -> Target:
    """An async method that runs tools, to be patched at the least cost."""
    begin, ended, raised = handlers.begin, handlers.ended, handlers.raised

    def make(method: Any, live: Live) -> Any:
        async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            frame = begin(self, args, kwargs) if live else None
            try:
                result = await method(self, *args, **kwargs)
            except BaseException as error:
                raised(frame, error)
                raise
            if frame is not None:
                ended(frame, result)
            return result

        return call

    return stand_in(attribute, make)
