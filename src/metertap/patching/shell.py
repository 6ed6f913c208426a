"""Functions that stand around a method, with the method's own parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any, cast

from metertap import faults
from metertap.patching.parameters import shaped, stated
from metertap.patching.targets import Live, Make
from metertap.patching.tracebacks import hide_frame

Begin = Callable[..., Any]
"""Takes the arguments of a call before it; returns a note of it, or None. It may raise."""
Returned = Callable[[Any, Any], object]
"""Takes the note and the result after a call, if there is a note. It may raise."""
Raised = Callable[[Any, BaseException], object]
"""Takes the note and the exception that ended a call, if there is a note. It may raise."""

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
    """Make of a method, sync or async, a function that calls these around it.

    None of their exceptions reaches the caller: they are counted as faults at `place`. None of them
    is called while `only_with` is empty.
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
    """Make by hand what takes the place of a method that has these very parameters.

    A function that is written by hand has what others would call in it. A later version of a
    library may have other parameters: then `otherwise` makes the function.
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
    """Take no note of an exception."""
