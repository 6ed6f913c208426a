"""The name of the tool of a call of one of the program's own handlers.

The function that finds it is made once for each handler, from the handler's signature. A call then
costs a look at the arguments and a look-up in a dictionary.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from inspect import Parameter
from types import ModuleType
from typing import Any, NamedTuple

from metertap import catalogue, faults
from metertap.measuring.callables import kind_of
from metertap.measuring.slots import NamedSlot, Slot, ToolSlot
from metertap.measuring.unfinished import can_be_awaited
from metertap.recording import ToolSeries
from metertap.state import is_enabled, recorder
from metertap_instrumentation.lines import nearest, need
from metertap_instrumentation.tools.configured.line import Line

SOURCE = "configured"
MOST_ARGUMENTS = 50
"""The most values of an argument that become names of tools, if no line says which are known."""

SlotOf = Callable[[Any, Any, Any], Slot]
"""Returns the slot of a call, given wrapt's instance, args and kwargs. Never raises."""
_COLLECTIONS = frozenset({dict, set, frozenset, list, tuple})
_NO_SELF = "{} = attr:… is for methods, and {} is none"
_Read = Callable[[Any, Any, Any], Any]
"""Returns a value of a call, given wrapt's instance, args and kwargs. May raise."""


class Function(NamedTuple):
    """The function that a line names, as it is found in its module."""

    callable: Any
    """A function whose signature tells what callers pass, except what `is_bound`."""
    name: str
    is_bound: bool
    """Whether the first parameter is an object or class, which callers do not pass."""
    has_self: bool
    """Whether its calls have an object or class."""

    @classmethod
    def find(cls, module: Any, attribute: str) -> Function:
        """Return the function of a line. Raises `AttributeError` or `TypeError` without one."""
        *path, name = attribute.split(".")
        owner, found = module, None
        try:
            owner = functools.reduce(getattr, path, module)
            found = getattr(owner, name)
        except AttributeError:
            where = f"{module.__name__}:{attribute}"
            if module.__name__ == "__main__":
                why = f"{where} does not exist yet: what __main__ defines later is not seen"
                raise AttributeError(why) from None
            raise AttributeError(f"{where} does not exist") from None
        if isinstance(found, type) or not callable(found):
            raise TypeError(f"{module.__name__}:{attribute} is no function")
        if not isinstance(owner, type):
            return cls(found, name, is_bound=False, has_self=not isinstance(owner, ModuleType))
        descriptor = inspect.getattr_static(owner, name)
        is_bound = not isinstance(descriptor, staticmethod) and hasattr(type(descriptor), "__get__")
        function = getattr(descriptor, "__func__", descriptor)
        return cls(function if callable(function) else found, name, is_bound, has_self=is_bound)

    @property
    def kind(self) -> str:
        """The way to measure its calls, which depends on what they return."""
        return kind_of(self.callable)

    def parameters(self) -> list[Parameter]:
        """List the parameters for which callers pass arguments."""
        return list(inspect.signature(self.callable).parameters.values())[self.is_bound :]


class _Unknown(Slot):
    """Counter of calls of names that the program does not know: they share a series."""

    __slots__ = ()

    def find(self) -> ToolSeries | None:
        with faults.guarded("measure"):
            if is_enabled():
                return recorder().other_tool(self.source)
        return None

    def left_out(self) -> None:
        """Do nothing: a client made up the name."""


class _Named(NamedSlot):
    """Counter of calls of a given name."""

    __slots__ = ()

    def look_at(self, result: object) -> None:
        """Warn of a result that is work still to do, and cannot be followed."""
        self.is_new = False
        with faults.guarded("measure"):
            if can_be_awaited(result):
                line = str(self.counted_by)
                faults.warn_once(
                    f"configured tool {line}",
                    "%s returns a %s: only the making of that is measured; name the async function "
                    "itself",
                    line,
                    type(result).__qualname__,
                )


class Slots:
    """The slots of one line, by name. If lines name the same call, the outermost counts it."""

    def __init__(self, line: str) -> None:
        self._line = line
        self.kept: dict[str, NamedSlot] = {}
        self.position: int | None = None
        """The argument's position, if a look-up of it in `kept` is all that is needed."""

    def new(self, name: str) -> ToolSlot:
        """Return a slot for `name`."""
        return _Named(name if name.strip() else catalogue.OTHER, SOURCE, self._line, self.kept)

    def past_the_bound(self) -> Slot:
        """Return a slot for one name too many: an argument may contain anything."""
        faults.warn_once(
            f"names of {self._line}",
            "%s: %d names of tools came from its argument; others are %s from now on. "
            "known = … says which names there are",
            self._line,
            MOST_ARGUMENTS,
            catalogue.OTHER,
        )
        return self.kept.get(catalogue.OTHER) or self.new(catalogue.OTHER)

    def unknown(self, name: str) -> Slot:
        """Return a slot for a name that the program does not know."""
        return _Unknown(name, SOURCE, self._line)


def is_unknown(slot: Slot) -> bool:
    """Return whether `slot` counts calls of names that the program does not know."""
    return type(slot) is _Unknown


def slot_of(line: Line, function: Function, module: Any, slots: Slots) -> SlotOf:
    """Return a function that finds the slot of a call. Raises ValueError if the line misfits."""
    if line.constant is not None:
        slot = slots.new(line.constant)
        return lambda _instance, _args, _kwargs: slot
    kind, path = line.name
    if kind == "attr":
        need(function.has_self, _NO_SELF.format("name", function.name))
        get = operator.attrgetter(path)
        return _careful(lambda instance, *_: get(instance), line, function, module, slots)
    parameter, *steps = path.split(".")
    position, read = _argument(parameter, function)
    careful = _careful(_reaching(read, steps), line, function, module, slots)
    if position is None or steps or line.known is not None:
        return careful
    kept = slots.kept
    slots.position = position

    def by_position(instance: Any, args: Any, kwargs: Any) -> Slot:
        try:
            return kept[args[position]]
        except Exception:  # a new name, one given by keyword, or no name
            return careful(instance, args, kwargs)

    return by_position


def _careful(read: _Read, line: Line, function: Function, module: Any, slots: Slots) -> SlotOf:
    """Return a function that finds the slot by a value that may be missing, unknown or no text."""
    known = None if line.known is None else _known(line.known, function, module)
    kept = slots.kept
    is_bounded = line.name[0] == "arg" and known is None

    def slot_of(instance: Any, args: Any, kwargs: Any) -> Slot:
        try:
            name = read(instance, args, kwargs)
            if type(name) is not str:
                name = _text(name)
            if known is not None:
                names = known(instance)
                if type(names) not in _COLLECTIONS:
                    _check_collection(names)
                if name not in names:
                    return slots.unknown(name)
            if is_bounded and len(kept) >= MOST_ARGUMENTS and name not in kept:
                return slots.past_the_bound()
            return kept.get(name) or slots.new(name)
        except Exception as error:
            # The program's own objects raised it, so it is no fault of metertap's. The error's text
            # may contain an argument.
            faults.warn_once(
                f"reading {line.target}",
                "configured tool %s: %s in reading %s; the call is one of %s (told once)",
                line.target,
                type(error).__qualname__,
                line.reads,
                catalogue.OTHER,
            )
            return slots.new(catalogue.OTHER)

    return slot_of


def _text(value: Any) -> str:
    """Return the text of a name, which may be a member of an enum; `_OTHER` for no text."""
    return str.__str__(value) if issubclass(type(value), str) else catalogue.OTHER


def _check_collection(names: Any) -> None:
    # Any part of a text would be known, and a test would advance an iterator.
    kind = type(names)
    if issubclass(kind, (str, bytes)) or not hasattr(kind, "__contains__"):
        raise TypeError


def _argument(name: str, function: Function) -> tuple[int | None, _Read]:
    """Return the position of an argument, if it has one, and a function that finds it."""
    parameters = function.parameters()
    kinds = {parameter.name: parameter.kind for parameter in parameters}
    gathered = Parameter.VAR_KEYWORD in kinds.values()
    if name not in kinds:
        near = nearest(name, [item.name for item in parameters])
        need(gathered, f"{function.name} has no parameter {name}{near}")
        return None, lambda _instance, _args, kwargs: kwargs.get(name)
    kind = kinds[name]
    need(
        kind not in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD},
        f"{name} of {function.name} is many arguments; name the one that is meant",
    )
    position = list(kinds).index(name)
    default = parameters[position].default
    default = None if default is Parameter.empty else default
    if kind is Parameter.KEYWORD_ONLY:
        return None, lambda _instance, _args, kwargs: kwargs.get(name, default)
    if kind is Parameter.POSITIONAL_ONLY:
        return (
            position,
            lambda _instance, args, _kwargs: args[position] if len(args) > position else default,
        )
    return (
        position,
        lambda _instance, args, kwargs: (
            args[position] if len(args) > position else kwargs.get(name, default)
        ),
    )


def _reaching(read: _Read, steps: list[str]) -> _Read:
    """Return a function that reads a value, and follows keys and attributes from it."""
    if not steps:
        return read
    whole, last = _reaching(read, steps[:-1]), steps[-1]

    def reach(instance: Any, args: Any, kwargs: Any) -> Any:
        value = whole(instance, args, kwargs)
        if type(value) is dict or issubclass(type(value), Mapping):
            return value.get(last)
        return getattr(value, last, None)

    return reach


def _known(given: tuple[str, str], function: Function, module: Any) -> Callable[[Any], Any]:
    """Return a function that returns the names that exist, given the instance."""
    kind, path = given
    if kind == "attr":
        need(function.has_self, _NO_SELF.format("known", function.name))
        return operator.attrgetter(path)
    first = path.partition(".")[0]
    near = nearest(first, list(vars(module)))
    need(hasattr(module, first), f"{module.__name__} has no global {first}{near}")
    get = operator.attrgetter(path)
    return lambda _instance: get(module)
