"""Functions that stand in for a method, with its parameters, and run code around its calls."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any, cast

from metertap import faults
from metertap.patching.parameters import shaped, stated
from metertap.patching.targets import Live, Make
from metertap.patching.tracebacks import hide_frame

Begin = Callable[..., Any]
"""Takes the arguments before a call; returns a note on the call, or None. May raise."""
Returned = Callable[[Any, Any], object]
"""Takes the note, if there is one, and the result of the call. May raise."""
Raised = Callable[[Any, BaseException], object]
"""Takes the note, if there is one, and the exception that ended the call. May raise."""

_BEGIN = """
{kind} call({parameters}):
    _note = None
    if {condition}:
        try:
            _note = _begin({arguments})
        except Exception as _error:
            _fault(_place, _error)
    try:
        _result = {call}
    except BaseException as _error:
        _hide(_error)
        if _note is not None:
            with _guarded(_place):
                _raised(_note, _error)
        raise
"""
_RETURNED = """
    if _note is not None:
        try:
            _returned(_note, _result)
        except Exception as _error:
            _fault(_place, _error)
"""
_LAST = """
    return _result
"""


def around(
    place: str,
    begin: Begin,
    returned: Returned | None = None,
    raised: Raised | None = None,
    *,
    only_with: Collection[Any] | None = None,
) -> Make:
    """Return a maker of stand-ins, for sync and async methods, that run these functions around.

    Their exceptions never reach the caller: they are counted as faults at `place`. While
    `only_with` is empty, they are not called.
    """

    source = _BEGIN + (_RETURNED if returned is not None else "") + _LAST
    condition = "_metertap_live"
    if only_with is not None:
        condition += " and _metertap_needed"

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        return shaped(
            method,
            source,
            {"condition": condition},
            live=live,
            needed=only_with,
            place=place,
            begin=begin,
            returned=returned,
            raised=raised or _nothing,
            fault=faults.fault,
            guarded=faults.guarded,
            hide=hide_frame,
        )

    return make


def fitting(parameters: str, by_hand: Make, otherwise: Make) -> Make:
    """Return a maker that uses `by_hand` for methods with exactly these parameters.

    A function written by hand has the code of others inlined. In another version of a library the
    method may have other parameters: then `otherwise` makes the stand-in.
    """

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        function = cast(FunctionType, method)
        if stated(function) != parameters:
            return otherwise(method, live)
        made = cast(FunctionType, by_hand(method, live))
        made.__defaults__, made.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
        return made

    return make


def _nothing(_note: Any, _error: BaseException) -> None:
    """Ignore an exception."""
