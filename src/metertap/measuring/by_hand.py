"""Measuring by hand: handlers and caches that no instrumentation knows.

Every function works before and without `instrument()`. After the last `shutdown()`, and if
measuring is disabled, it does nothing. A record by hand within a call of the same tool that a patch
counts is left out, and `metertap doctor` names it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from metertap import catalogue, faults, outcomes
from metertap.labels import as_label
from metertap.measuring import callables, calls, functions, generators, wrappers
from metertap.measuring.blocks import MeasuredBlock
from metertap.measuring.slots import Slot, ToolSlot
from metertap.outcomes import Ending
from metertap.patching.by_value import is_by_value, sent
from metertap.patching.parameters import shaped
from metertap.patching.targets import WrapperFunction
from metertap.patching.tracebacks import hide_frame
from metertap.patching.wrapper import CalledProxy, FunctionWrapper, Wrapper
from metertap.state import is_enabled, recorder

SOURCE = catalogue.MANUAL

F = TypeVar("F", bound=Callable[..., Any])


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, name: str | None = None) -> Callable[[F], F]: ...
def tool(function: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
    """Measure a function as a tool: plain, async, generator or async generator.

    `name` defaults to the function's own. Signature, annotations, exceptions and results stay the
    function's. A generator is measured from its first step to its last.
    """
    if function is None:
        return functools.partial(_wrap, name=name)
    return _wrap(function, name=name)


def _wrap(function: F, name: str | None) -> F:
    with faults.guarded("tool"):
        return cast(F, _measured(function, name))
    return function


def _measured(function: Any, name: str | None) -> Any:
    if name is not None and not isinstance(name, str):
        faults.warn_once("tool.name", "%s is not a name: the function's own", faults.shown(name))
        name = None
    label = name or callables.name_of(function)
    rebuilt = callables.rebuilt(function, lambda inner: _measured(inner, label))
    if rebuilt is not None:
        return rebuilt
    if not callables.is_measurable(function):
        faults.warn_once(
            f"tool {type(function).__qualname__}",
            "@metertap.tool cannot measure %s; decorate a function",
            faults.shown(function),
        )
        return function
    if label is None:
        label = "<lambda>"
        faults.warn_once(
            "tool <lambda>",
            'lambdas are all one tool, "%s"; give each a name: metertap.tool(name="search")',
            label,
        )
    if is_enabled():
        recorder().tool(as_label(label), SOURCE)  # in the document before its first call
    if code := getattr(function, "__code__", None):
        recorder().decorated[as_label(label)] = code.co_filename, code.co_firstlineno
    slot = ToolSlot(label, SOURCE)
    kind = callables.kind_of(function)
    if type(function) is FunctionType and kind in _FUNCTIONS:
        return _FUNCTIONS[kind](function, slot)
    if "generator" in kind:
        slot.is_new = False  # another measured function runs its result
        drive = _GENERATORS[kind]
        if type(function) is FunctionType:
            return _GeneratorWrapper(function, drive, slot, label)
        driver = generators.driver_of(function, drive)
        wrapper = generators.wrapper(driver, lambda _instance, _args, _kwargs: slot)
    else:
        wrapper = (
            wrappers.coroutine_wrapper(slot, function)
            if kind == "coroutine"
            else wrappers.plain_wrapper(slot, slot.later)
        )
    # An object that is no descriptor must not become one: programs ask for `__get__`.
    is_bound = hasattr(type(function), "__get__")
    return (_ObjectWrapper if is_bound else _proxies_of(type(function)))(function, wrapper, label)


_SENT = sent(__name__, "_measured", lambda function, _label: function)
"""Decorates again in another process; if metertap is missing there, returns the function."""


class _DecoratedAgain:
    """The part of a decorated object that pickles by value as its original, to decorate again."""

    __slots__ = ()  # or older versions of wrapt lack the original's `__dict__`

    if TYPE_CHECKING:  # annotations of the class would hide those of the original
        __wrapped__: Any
        __qualname__: str
        _self_label: str

    def _parts(self) -> Any:
        return _SENT, (self.__wrapped__, self._self_label)


class _Decorated(_DecoratedAgain, Wrapper):
    """A wrapper of a decorated callable that may be bound."""

    def __init__(self, wrapped: Any, wrapper: WrapperFunction, label: str) -> None:
        super().__init__(wrapped, wrapper)
        self._self_label = label


class _GeneratorWrapper(_Decorated, FunctionWrapper):
    """A wrapper of a decorated generator function."""

    def __init__(self, function: Any, drive: Any, slot: ToolSlot, label: str) -> None:
        driver = generators.driver_of(function, drive)
        wrapper = generators.wrapper(driver, lambda _instance, _args, _kwargs: slot)
        super().__init__(function, wrapper, label)
        self._self_driven = driver, slot  # one attribute, since a proxy's are slow to read

    # As FunctionWrapper does it. wrapt's own call first asks the function for its instance, which
    # is missing: that costs half a microsecond.
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            inner = self.__wrapped__(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        driver, slot = self._self_driven
        return driver(inner, slot)


class _OfObject(_DecoratedAgain):
    """The part of a decorated object with `__call__` that is copied and pickled as the original."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: Any) -> Any:
        if is_by_value(self):
            return self._parts()
        if self._is_named():
            return self.__qualname__
        return _measured, (self.__wrapped__, self._self_label)

    def _is_named(self) -> bool:
        """Return whether its module and name lead to it, as a function's do, which pickle needs."""
        try:
            path = self.__qualname__.split(".")
            found: Any = functools.reduce(getattr, path, sys.modules[self.__module__])
            return found is self
        except Exception:  # most objects have no name of their own
            return False

    def __copy__(self) -> Any:
        copied = copy.copy(self.__wrapped__)
        return self if copied is self.__wrapped__ else _measured(copied, self._self_label)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = copy.deepcopy(self.__wrapped__, memo)
        return self if copied is self.__wrapped__ else _measured(copied, self._self_label)


class _ObjectWrapper(_OfObject, _Decorated):
    """A wrapper of an object with `__call__` that may be bound."""


class _ObjectProxy(_OfObject, CalledProxy):
    """A wrapper of an object with `__call__` that is never bound."""

    def __init__(self, wrapped: Any, wrapper: WrapperFunction, label: str) -> None:
        super().__init__(wrapped)
        self._self_wrapper = wrapper
        self._self_label = label


_FIELDS = "__dataclass_fields__"
"""The attribute by which a class is known as a dataclass."""
_CALL = """
{kind} call({parameters}):
    try:
        return {awaiting}{first}._self_wrapper({first}.__wrapped__, None, {args}, {kwargs})
    except BaseException as _error:
        _hide(_error)
        raise
"""


def _proxies_of(kind: Any) -> type[_ObjectProxy]:
    """Return a class of proxies whose `__call__` has the signature that `kind` has.

    The module `dataclasses` asks an object's type for the fields, so the class has those, too.
    """
    bare: Any = getattr(kind, "__call__", None)  # noqa: B004
    is_function = type(bare) is FunctionType
    call = shaped(bare if is_function else _any, _CALL, hide=hide_frame)
    if is_function:
        functools.update_wrapper(call, bare)
    fields = {_FIELDS: getattr(kind, _FIELDS)} if hasattr(kind, _FIELDS) else {}
    return type(_ObjectProxy.__name__, (_ObjectProxy,), {**fields, "__call__": call})


def _any(self: Any, /, *args: Any, **kwargs: Any) -> None:
    """Have the signature of a callable that does not tell its parameters."""


_FUNCTIONS = {"plain": functions.plain, "coroutine": functions.coroutine}
_GENERATORS: dict[str, Any] = {
    "generator": generators.steps,
    "async generator": generators.async_steps,
}


def measure_tool(name: str) -> contextlib.AbstractContextManager[None]:
    """Measure a block as one call of the tool `name`: `with metertap.measure_tool("search"):`.

    An exception that leaves the block makes it a failed call and passes on unchanged.
    """
    caller = sys._getframe(1)
    with faults.guarded("measure"):
        # A block within itself is a recursion; within another block of that name, it is the same
        # call.
        return MeasuredBlock(Slot(name, SOURCE, (caller.f_code, caller.f_lasti)))
    return contextlib.nullcontext()


def record_tool_call(
    tool_name: str,
    success: bool,
    latency_ms: float | None = None,
    error_type: str | None = None,
) -> None:
    """Count one call that the program timed itself. `latency_ms` is in milliseconds.

    A failed call without a latency counts, and adds no sample.
    """
    with faults.guarded("record_tool_call"):
        if not is_enabled():
            return
        if calls.counted_already(tool_name):
            recorder().left_out(tool_name)
            return
        series = recorder().tool_by_hand(tool_name, SOURCE)
        if success:
            recorder().record_tool(series, outcomes.OK, None, latency_ms)
        else:
            ending = _ending(error_type)
            recorder().record_tool(series, ending.outcome, ending.error_type, latency_ms)


def _ending(given: object) -> Ending:
    """Return the ending of a failed call whose error type the program gave like this."""
    if isinstance(given, BaseException):
        return Ending.by(given)
    if not given:
        named = outcomes.TOOL_ERROR
    elif isinstance(given, str):
        named = given
    elif isinstance(given, type):
        named = given.__qualname__
    else:
        faults.warn_once("record.error_type", "%s is not an error type", faults.shown(given))
        named = catalogue.OTHER
    return Ending(outcomes.of_error_type(named), named)
