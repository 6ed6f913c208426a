"""Functions with the parameters of the method whose place they take.

A function that takes `*args` and `**kwargs` and passes them on costs 0.15 µs more than the call of
the method itself: a tuple, two dictionaries and a list are made for it, while CPython 3.11 and
newer run a call of known arguments in the same loop. So the source of the function is written with
the method's own parameters, as `dataclasses` and `namedtuple` write theirs. A method that takes
`*args` and `**kwargs` gets a function that does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from types import CodeType, FunctionType
from typing import Any, cast

from metertap import faults
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
    _metertap_note = None
    if {condition}:
        try:
            _metertap_note = _metertap_begin({arguments})
        except Exception as _metertap_error:
            _metertap_fault(_metertap_place, _metertap_error)
    try:
        _metertap_result = {call}
    except BaseException as _metertap_error:
        _metertap_hide(_metertap_error)
        if _metertap_note is not None:
            with _metertap_guarded(_metertap_place):
                _metertap_raised(_metertap_note, _metertap_error)
        raise
"""
_RETURNED = """
    if _metertap_note is not None:
        try:
            _metertap_returned(_metertap_note, _metertap_result)
        except Exception as _metertap_error:
            _metertap_fault(_metertap_place, _metertap_error)
"""
_LAST = "    return _metertap_result\n"


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

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        function = cast(FunctionType, method)
        names: dict[str, Any] = {
            "__name__": __name__,
            "_metertap_live": live,
            "_metertap_needed": only_with,
            "_metertap_place": place,
            "_metertap_begin": begin,
            "_metertap_returned": returned,
            "_metertap_raised": raised or _nothing,
            "_metertap_method": method,
            "_metertap_fault": faults.fault,
            "_metertap_guarded": faults.guarded,
            "_metertap_hide": hide_frame,
        }
        is_async = inspect.iscoroutinefunction(method)
        condition = "_metertap_live"
        if only_with is not None:
            condition += " and _metertap_needed"
        code = _code(*written(function), condition, is_async, returned is not None)
        exec(code, names)  # noqa: S102  # of names that are parameters, and nothing else
        made: FunctionType = names["call"]
        made.__defaults__, made.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
        return made

    return make


def fitting(parameters: str, by_hand: Make, otherwise: Make) -> Make:
    """Make by hand what takes the place of a method that has these very parameters.

    A function that is written by hand has what others would call in it. A later version of a
    library may have other parameters: then `otherwise` makes the function.
    """

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        function = cast(FunctionType, method)
        if written(function)[0] != parameters:
            return otherwise(method, live)
        made = cast(FunctionType, by_hand(method, live))
        made.__defaults__, made.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
        return made

    return make


def _nothing(_note: Any, _error: BaseException) -> None:
    """Take no note of an exception."""


@functools.lru_cache(maxsize=100)
def _code(
    parameters: str, arguments: str, condition: str, is_async: bool, is_told: bool
) -> CodeType:
    source = _BEGIN + (_RETURNED if is_told else "") + _LAST
    written = source.format(
        kind="async def" if is_async else "def",
        parameters=parameters,
        arguments=arguments,
        condition=condition,
        call=f"{'await ' if is_async else ''}_metertap_method({arguments})",
    )
    return compile(written, "<metertap>", "exec")


def written(function: FunctionType) -> tuple[str, str]:
    """Write the parameters of a function, and the arguments that pass all of them on.

    A signature is not asked: it may be one that the program made up.
    """
    code = function.__code__
    names = iter(code.co_varnames)
    positional = [next(names) for _ in range(code.co_argcount)]
    named = [next(names) for _ in range(code.co_kwonlyargcount)]
    first_default = code.co_argcount - len(function.__defaults__ or ())
    parameters = [
        f"{name}=None" if place >= first_default else name for place, name in enumerate(positional)
    ]
    if code.co_posonlyargcount:
        parameters.insert(code.co_posonlyargcount, "/")
    arguments = list(positional)
    if code.co_flags & inspect.CO_VARARGS:
        arguments.append(f"*{next(names)}")
        parameters.append(arguments[-1])
    elif named:
        parameters.append("*")
    defaults = function.__kwdefaults__ or {}
    parameters += [f"{name}=None" if name in defaults else name for name in named]
    arguments += [f"{name}={name}" for name in named]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        arguments.append(f"**{next(names)}")
        parameters.append(arguments[-1])
    return ", ".join(parameters), ", ".join(arguments)
