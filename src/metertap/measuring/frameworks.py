"""Measuring what runs the tools of a framework: one function, by which all of them are called.

Which tool it is and how its call ended differ from call to call. A framework says so in a subclass
of `Handlers`; the clock, the series, what is counted already and faults of our own are here.
"""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.measuring import calls
from metertap.measuring.calls import INSTANCE, NOTE, OWNER, SERIES, Frame, clock
from metertap.measuring.slots import NamedSlot, Slot
from metertap.measuring.wrappers import coroutine_wrapper, plain_wrapper
from metertap.outcomes import Ending
from metertap.patching.patch_set import Target, comparable
from metertap.patching.tracebacks import hide_frame

_PLAIN = frozenset({type(None), str, int, float, bool, dict})
"""Types of results that say nothing of how a call ended, so that nobody has to be asked."""


class Handlers:
    """How the calls of one framework are named and judged.

    `source` keeps its tools apart from equal names of other libraries. Inside another's call of the
    same tool (one framework runs a tool of another's) a call is not counted once more.
    """

    source: str
    slot_class: type[NamedSlot] = NamedSlot

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}

    # What a framework says. These may raise: that is a fault, and the call goes unmeasured.

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str | None:
        """Name the tool that is called, `_OTHER` if there is none such; None if this is no call."""
        raise NotImplementedError

    def inside(self, _outer: Frame, _instance: Any, _name: str, _kwargs: Any) -> None:
        """Look at the call around one that is about to start, and give it up if it is the same."""

    def returned(self, _result: Any) -> Ending | None:
        """Judge a call that returned this, which is no plain value; None: it went well."""
        return None

    def raising(self, error: BaseException) -> Ending:
        """Judge a call that raised `error`."""
        return Ending.by(error)

    # As what measures a wrapper: see `wrappers.Measure`.

    def begin(self, instance: Any, args: Any, kwargs: Any) -> Frame | None:
        """Begin a call; None if it is not to be measured."""
        try:
            name = self.name_of(instance, args, kwargs)
            if name is None:
                return None
            outer = calls.around()
            if outer is not None:
                self.inside(outer, instance, name, kwargs)
            slot = self._slots.get(name)
            if slot is None:
                slot = self.slot_class(name, self.source, self.source, self._slots)
            frame = slot.enter()
            if frame is not None:
                frame[INSTANCE] = id(instance)
            return frame
        except Exception as fault:
            faults.fault(f"tool {self.source}", fault)
            return None

    def ended(self, frame: Frame, result: Any) -> None:
        """End the call of `frame`, which returned `result`."""
        now = clock()
        ending = frame[NOTE]
        if ending is None and frame[SERIES] and type(result) not in _PLAIN:
            try:
                ending = self.returned(result)
            except Exception as fault:
                faults.fault(f"tool {self.source}", fault)
        calls.leave(frame, ending, now)

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`, and hide the wrapper's frame in that."""
        now = clock()
        with faults.guarded(f"tool {self.source}"):
            hide_frame(error)
        if frame is not None:
            ending = frame[NOTE]
            if ending is None and frame[SERIES]:
                ending = Ending.by(error)
                with faults.guarded(f"tool {self.source}"):
                    ending = self.raising(error)
            calls.leave(frame, ending, now)

    def note(self, ending: Ending) -> None:
        """Take from a layer inside a call how that ends, whatever it returns."""
        frame = calls.in_progress()
        if frame is not None and frame[OWNER].counted_by == self.source:
            frame[NOTE] = ending


def plain_method(attribute: str, handlers: Handlers) -> Target:
    """Patch a method that runs tools with a plain function."""
    return comparable(attribute, plain_wrapper(handlers))


def coroutine_method(attribute: str, handlers: Handlers) -> Target:
    """Patch an async method that runs tools with a plain function."""
    return comparable(attribute, coroutine_wrapper(handlers))
