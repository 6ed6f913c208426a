"""Wrappers that wrapt calls in place of a measured function, plain or async."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from metertap import faults
from metertap.measuring.calls import SERIES, STARTED, Frame, broken
from metertap.measuring.generators import named_as
from metertap.measuring.unfinished import UNFINISHED, Later, Unrun
from metertap.patching.parameters import shaped
from metertap.patching.targets import Live, Make, WrapperFunction
from metertap.patching.tracebacks import hide_frame


class Measure(Protocol):
    """Counting of a function's calls. None of these methods ever raises."""

    def begin(self, instance: Any, args: Any, kwargs: Any) -> Frame | None:
        """Begin a call; None if it is not to be measured."""

    def ended(self, frame: Frame, result: Any) -> None:
        """End the call of `frame`, which returned `result`."""

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`, and hide the wrapper's frame in that."""


def plain_wrapper(measure: Measure, later: Later | None = None) -> WrapperFunction:
    """Return wrapt's wrapper for a plain function.

    `later` makes a stand-in for a returned coroutine or generator, which counts the call when it is
    run.
    """
    begin, ended, raised = measure.begin, measure.ended, measure.raised

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        frame = None
        try:
            frame = begin(instance, args, kwargs)
        except Exception as fault:
            faults.fault("measure", fault)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            try:
                raised(frame, error)
            except BaseException as fault:
                broken(frame, fault)
            raise
        if frame is not None:
            try:
                if later is not None and id(type(result)) in UNFINISHED and frame[SERIES]:
                    return later(frame, frame[STARTED], result)
                ended(frame, result)
            except BaseException as fault:
                broken(frame, fault)
        return result

    return call


def coroutine_wrapper(measure: Measure, function: object = None) -> WrapperFunction:
    """Return wrapt's wrapper for an async function, by which its coroutines are named."""
    begin, ended, raised = measure.begin, measure.ended, measure.raised

    async def run(made: Unrun, instance: Any, args: Any, kwargs: Any) -> Any:
        frame = None
        try:
            frame = begin(instance, args, kwargs)
        except Exception as fault:
            faults.fault("measure", fault)
        try:
            result = await made.take()
        except BaseException as error:
            try:
                raised(frame, error)
            except BaseException as fault:
                broken(frame, fault)
            raise
        if frame is not None:
            try:
                ended(frame, result)
            except BaseException as fault:
                broken(frame, fault)
        return result

    named_as(function, run)

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        try:
            made = wrapped(*args, **kwargs)  # now, so that wrong arguments raise at the call
        except BaseException as error:
            hide_frame(error)
            raise
        return run(Unrun(made), instance, args, kwargs)

    return call


_COUNTED = """
{kind} call({parameters}):
    _frame = None
    try:
        if _live:
            _frame = _begin({first}, {args}, {kwargs})
    except Exception as _fault:
        _faults.fault("measure", _fault)
    try:
        _result = {call}
    except BaseException as _error:
        try:
            if _live or _frame is not None:
                _raised(_frame, _error)
            else:
                _hide(_error)
        except BaseException as _fault:
            _broken(_frame, _fault)
        raise
    if _frame is not None:
        try:
            _ended(_frame, _result)
        except BaseException as _fault:
            _broken(_frame, _fault)
    return _result
"""


def method_of(measure: Measure) -> Make:
    """Return a patch that replaces a method, sync or async, by a plain function that counts."""

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        return shaped(
            method,
            _COUNTED,
            begin=measure.begin,
            broken=broken,
            ended=measure.ended,
            faults=faults,
            hide=hide_frame,
            live=live,
            raised=measure.raised,
        )

    return make
