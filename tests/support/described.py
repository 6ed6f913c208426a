"""What the standard library says of a function or an object that is called."""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
from typing import Any


def function_of(found: Any) -> Any:
    """The function that a class method has; anything else as it is."""
    return found.__func__ if type(found) is classmethod else found


def described(path: str) -> tuple[Any, ...]:
    """What can be asked of the function at a dotted path.

    A function that its module has from another one names that module, but while it is patched the
    one in which it is patched, since pickle has to find it there.
    """
    module, _, name = path.partition(":")
    it = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    return (
        inspect.signature(it),
        inspect.isfunction(it),
        inspect.iscoroutinefunction(it),
        inspect.isgeneratorfunction(it),
        inspect.isasyncgenfunction(it),
        it.__doc__,
        it.__name__,
        # Its full name is that of where it stands, as pickle needs it; the bare one may be named
        # after a base class, or another module.
        _is_pickled_by_name(it),
    )


def _is_pickled_by_name(it: Any) -> bool:
    try:
        return bool(pickle.loads(pickle.dumps(it)) == it)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
