"""Modules and names of functions and classes, read without running code of the program's.

Any object of the program may come here, including lazy ones and proxies: `isinstance` would ask
them, so it is not used, and attributes are read past their overrides.
"""

from __future__ import annotations

import functools
import types
from typing import Any

KEEPERS: set[str] = set()
"""Packages whose own objects and closures hold caches under names that tell nothing."""

_HAVE_NAMES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
)
_module_of, _qualname_of = (type.__dict__[name].__get__ for name in ("__module__", "__qualname__"))


def names_of(function: Any) -> tuple[str, str] | None:
    """Return module and qualified name of a callable, decorated or not.

    No `__getattr__` of the program is called.
    """
    for _ in range(20):  # a decorated function may refer to itself
        names: tuple[Any, Any]
        if is_class(function):
            names = names_of_class(function)
        elif issubclass(type(function), _HAVE_NAMES):
            names = getattr(function, "__module__", None), function.__qualname__
        else:
            names = attribute_of(function, "__module__"), attribute_of(function, "__qualname__")
        if type(names[0]) is str and type(names[1]) is str:
            return names[0], names[1]
        if issubclass(type(function), functools.partial):
            function = function.func
        else:
            within = attribute_of(function, "__wrapped__")
            function = within if within is not None else type(function)
    return None


def attribute_of(item: Any, name: str) -> Any:
    """Read an attribute without calling the program's `__getattr__`; None if it is missing."""
    try:
        return object.__getattribute__(item, name)
    except AttributeError:
        return None


def names_of_class(cls: Any) -> tuple[str, str]:
    """Return module and qualified name of a class, past its metaclass."""
    return str(_module_of(cls)), _qualname_of(cls)


def is_class(item: object) -> bool:
    """Return whether an object is a class, without asking it."""
    return issubclass(type(item), type)


def is_keeper(module: object) -> bool:
    """Return whether a module is of a package whose names tell nothing."""
    return str(module).partition(".")[0] in KEEPERS


def label_of(function: object) -> str | None:
    """Return a callable's full name; None if it has none, or one that tells nothing."""
    names = names_of(function)
    return None if names is None or is_keeper(names[0]) else ".".join(names)
