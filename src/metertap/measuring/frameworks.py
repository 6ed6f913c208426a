"""Measuring a framework's tools at the one function through which it calls all of them.

The tool and the outcome differ from call to call: a framework tells them in a subclass of
`Handlers`. Clock, series, calls that are counted elsewhere, and faults are handled here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from metertap import faults
from metertap.measuring import calls
from metertap.measuring.calls import ENDED, INSTANCE, NOTE, OWNER, SERIES, STARTED, Frame, clock
from metertap.measuring.slots import NamedSlot
from metertap.measuring.wrappers import Measure, coroutine_wrapper, method_of, plain_wrapper
from metertap.outcomes import Ending
from metertap.patching.targets import Target, WrapperFunction, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap.recording.buffer import was_put
from metertap.state import is_enabled, recorder
from metertap.weight import results
from metertap.weight.definitions import Definition

if TYPE_CHECKING:
    from metertap.recording import ToolSeries

_current, _set_current = calls.current.get, calls.current.set

NameOf = Callable[[Any, Any, Any], "str | None"]
"""Returns the name of the tool that a function is to run: of its instance, args and kwargs."""

_PLAIN = frozenset(map(id, (type(None), str, int, float, bool, dict)))
"""Ids of result types that tell nothing of a call's outcome, so that `returned` is not called."""


class Handlers:
    """A framework's function that runs its tools: their names and outcomes.

    `source` distinguishes its tools from those of equal names in other libraries. A call inside
    another framework's call of the same tool is not counted again.
    """

    source: str
    slot_class: type[NamedSlot] = NamedSlot

    def __init__(self) -> None:
        self._slots: dict[str, NamedSlot] = {}

    # What a framework says. These may raise: that is a fault, and the call goes unmeasured.

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str | None:
        """Return the called tool's name, `_OTHER` if there is no such tool; None: no tool call."""
        raise NotImplementedError

    def inside(self, _outer: Frame, _instance: Any, _name: str, _kwargs: Any) -> None:
        """Look at the call around one that is about to begin; give it up if it is the same."""

    def returned(self, _result: Any) -> Ending | None:
        """Return the ending of a call by its result, no plain value; None: it went well."""
        return None

    def raising(self, error: BaseException) -> Ending:
        """Return the ending of a call that raised `error`."""
        return Ending.by(error)

    def size_of(self, result: Any) -> int:
        """Return the size of what a model gets of a result, or a mark such as -1."""
        return results.of_value(result)

    def tool_of(self, _instance: Any, _args: Any, _kwargs: Any) -> Any:
        """Return the object that defines the called tool, if another may come to have its name."""
        return self

    def definitions(self, _instance: Any, _args: Any, _kwargs: Any) -> Iterable[tuple[str, Any]]:
        """Return, with their names, the tools that are known where an object is first called."""
        return ()

    def define(self, _tool: Any) -> Definition | None:
        """Return the size of a tool's definition as a model gets it; None if the tool is gone."""
        raise NotImplementedError

    # The methods below make this a `wrappers.Measure`.

    def begin(self, instance: Any, args: Any, kwargs: Any) -> Frame | None:
        """Begin a call; None if it is not to be measured."""
        try:
            name = self.name_of(instance, args, kwargs)
            if name is None:
                return None
            slot = self._slots.get(name)
            if slot is None:
                slot = self.slot_class(name, self.source, self.source, self._slots)
                slot.is_new = False  # `returned` judges each result
            if slot.tool is None or slot.tool() is not self.tool_of(instance, args, kwargs):
                self._define(slot, instance, args, kwargs)
            outer, series = _current(), slot.series
            # Most often there is none, or one that has ended and was inside no other.
            if series is not None and (outer is None or (outer[0] is None and outer[2] is None)):
                # Inlined from `calls.enter_outermost`, to save a call.
                at = id(instance)
                begun: Frame = [series, slot, None, False, False, None, 0.0, at, 0, None]
                tick = series.tick
                try:
                    tick()
                    _set_current(begun)
                    begun[6] = clock()
                except BaseException as refused:
                    calls.enter_again(begun, refused)
                return begun
            outer = calls.around()
            if outer is not None:
                self.inside(outer, instance, name, kwargs)
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
        series, ending = frame[0], frame[5]
        if series and (weight := series.weight) and id(type(result)) in _PLAIN:
            weight.weigh_plain(result)
            if ending is None and not frame[3]:
                # Inlined from `calls.leave`, to save a call.
                started, ended = frame[6], frame[9]
                if ended is None:
                    ended = now
                seconds = ended - started if ended > started else 0.0
                append = series.append
                frame[0] = frame[1] = None
                try:
                    append(seconds)
                except BaseException as fault:
                    if not was_put(fault):
                        series.left()
                    faults.fault("measure", fault)
                series.ended = ended
                return
        elif series:
            ending = self._judge(series, ending, result)
        calls.leave(frame, ending, now)

    def _judge(self, series: ToolSeries, ending: Ending | None, result: Any) -> Ending | None:
        """Weigh a result that is no plain value, and return how its call ended."""
        is_plain = id(type(result)) in _PLAIN
        weight = recorder().weight_of(series)
        if weight is not None:
            weight.weigh(results.of_value if is_plain else self.size_of, result)
        if ending is None and not is_plain:
            try:
                ending = self.returned(result)
            except Exception as fault:
                faults.fault(f"tool {self.source}", fault)
        return ending

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`; hide the wrapper's frame in that."""
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

    # Notes from inner layers on the call in progress. None of these ever raises.

    def note(self, ending: Ending) -> None:
        """Note how the call in progress ends, whatever it returns."""
        frame = self.in_progress()
        if frame is not None:
            frame[NOTE] = ending

    def handler_ended(self) -> None:
        """Note that the tool's own code has ended: the framework's time after does not count."""
        frame = self.in_progress()
        if frame is not None and frame[9] is None:
            frame[9] = clock()

    def untimed(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        """Call `wrapped`, the framework's own function, outside of the handler's time."""
        frame = self.in_progress()
        started = clock()
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        finally:
            if frame is not None and frame[ENDED] is None:
                frame[STARTED] += clock() - started

    def _define(self, slot: NamedSlot, instance: Any, args: Any, kwargs: Any) -> None:
        """Note definitions, to be measured when figures are read."""
        with faults.guarded(f"tool {self.source}"):
            slot.tool = weakref.ref(self.tool_of(instance, args, kwargs))
            if is_enabled() and recorder().weighs:
                for name, tool in self.definitions(instance, args, kwargs):
                    recorder().weight(name, self.source).defined_by(self.define, tool)

    def in_progress(self) -> Frame | None:
        """Return the innermost call's frame, if this framework counts that call. Never raises."""
        try:
            frame = _current()
            if frame is not None and not frame[0]:
                frame = calls.in_progress()
            if frame is None:
                return None
            owner = frame[1]
            return frame if owner is not None and owner.counted_by == self.source else None
        except Exception as fault:
            faults.fault(f"tool {self.source}", fault)
            return None


def begins(frame: Frame) -> None:
    """Note on the call of `frame` that the tool's own code begins now, perhaps again."""
    if frame[9] is None:
        frame[6] = clock()
    frame[9] = None


class HandlerTime:
    """A `wrappers.Measure` of the tool's own code, which notes its time on the call in progress.

    That code may have the framework run something else by the same function, such as another
    agent's: it is part of the call. So `name_of`, by default that of the handlers, tells whose call
    the function runs.
    """

    def __init__(self, handlers: Handlers, name_of: NameOf | None = None) -> None:
        self._handlers = handlers
        self._name_of = name_of or handlers.name_of

    def begin(self, instance: Any, args: Any, kwargs: Any) -> Frame | None:
        """Note, on the call in progress, that its handler begins; None if another one does."""
        frame = self._handlers.in_progress()
        if frame is None or frame[OWNER].name != self._name_of(instance, args, kwargs):
            return None
        begins(frame)
        return frame

    def ended(self, frame: Frame, _result: Any) -> None:
        """Note, on the call in progress, that its handler returned."""
        if frame[9] is None:
            frame[9] = clock()

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """Note, on the call in progress, that its handler raised; hide the wrapper's frame."""
        hide_frame(error)
        if frame is not None and frame[9] is None:
            frame[9] = clock()


def plain_method(attribute: str, measure: Measure, *, optional: bool = False) -> Target:
    """Return the target that measures a method, which runs tools, by a plain function."""
    return _method(attribute, plain_wrapper(measure), measure, optional)


def coroutine_method(attribute: str, measure: Measure, *, optional: bool = False) -> Target:
    """Return the target that measures an async method, which runs tools, by a plain function."""
    return _method(attribute, coroutine_wrapper(measure), measure, optional)


def _method(attribute: str, wrapper: WrapperFunction, measure: Measure, optional: bool) -> Target:
    """Return a target with a plain function, as `targets.comparable` makes for the same reason."""
    made = stand_in(attribute, method_of(measure), optional=optional)
    return made._replace(wrapper=wrapper)
