"""Names of caches: what an operator recognises, the same after a restart, never a key.

In this order: what the program said (`metertap.name_cache`), what the library calls the cache
(a directory, an alias, the function that is decorated), the attribute or variable that it is bound
to (`shop.cache.sessions`, `shop.api.Catalogue.prices`), and the class, where there is nothing else.
"""

from __future__ import annotations

import functools
import gc
import sys
import types
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from metertap import locks
from metertap.labels import as_label

KEEPERS: set[str] = set()
"""Packages whose own objects and closures keep caches under names that tell an operator nothing."""

_HAVE_NAMES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    type,
)


class Names:
    """A finder of names for many objects at once: each search has to walk over all objects."""

    def __init__(self) -> None:
        self._given: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._lock = locks.lock()

    def give(self, cache: object, name: str) -> None:
        """Call `cache` by `name`. Raises `TypeError` for what is no name, or cannot be named."""
        if not isinstance(name, str) or not name:
            raise TypeError("a cache's name is a text that is not empty")
        identity = id(cache)
        with self._lock:
            forgotten = weakref.ref(cache, lambda _: self._given.pop(identity, None))
            self._given[identity] = (forgotten, as_label(name))

    def given(self, cache: object) -> str | None:
        """Return what the program called `cache`, or None."""
        found = self._given.get(id(cache))
        return found[1] if found is not None and found[0]() is cache else None

    def of(self, wanted: Sequence[tuple[Any, str | None]]) -> list[str]:
        """Return the names of objects, given with their natural names if they have any.

        None in the place of an object is one that has ended.
        """
        names = [
            None if cache is None else self.given(cache) or natural for cache, natural in wanted
        ]
        lacking = [wanted[index][0] for index, name in enumerate(names) if name is None]
        found = _bindings([cache for cache in lacking if cache is not None])
        return [
            as_label(name or found.get(id(cache)) or self.unbound(cache))
            for name, (cache, _) in zip(names, wanted, strict=True)
        ]

    def unbound(self, cache: object) -> str:
        """Return the name of all caches of a class that no variable or attribute refers to."""
        cls = type(cache)
        return f"{cls.__module__}.{cls.__qualname__}"


def names_of(function: Any) -> tuple[str, str] | None:
    """Find the module and qualified name of a callable, decorated or not.

    No `__getattr__` of the program's is called.
    """
    for _ in range(20):  # a decorated function may lead to itself
        if issubclass(type(function), _HAVE_NAMES):
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
    """Read an attribute past a `__getattr__` of the program's; None if there is none."""
    try:
        return object.__getattribute__(item, name)
    except AttributeError:
        return None


def _bindings(caches: Sequence[object]) -> dict[int, str]:
    """Find names, by identity, in the variables and attributes that refer to the caches."""
    if not caches:
        return {}
    names = _in_modules(caches)
    rest = [cache for cache in caches if id(cache) not in names]
    if rest:
        names.update(_in_objects(rest))
    return names


def _in_modules(caches: Iterable[object]) -> dict[int, str]:
    wanted = {id(cache) for cache in caches}
    found: dict[int, str] = {}
    for module_name, module in sys.modules.copy().items():
        namespace = _namespace(module)
        if namespace is None:
            continue
        for name, value in list(namespace.items()):
            if id(value) in wanted:
                # The module that a name was imported into is not the one it belongs to: the
                # first one imported is.
                found.setdefault(id(value), f"{module_name}.{name}")
    return found


def _in_objects(caches: Sequence[object]) -> dict[int, str]:
    """Find names in attributes of instances, classes and functions, and in closures."""
    wanted = {id(cache): cache for cache in caches}
    found: dict[int, str] = {}
    holders = [item for item in gc.get_referrers(*caches) if item is not caches]
    namespaces = [item for item in holders if type(item) is dict and item is not wanted]
    owners = {id(vars_): vars_ for vars_ in namespaces}
    for owner in gc.get_referrers(*namespaces) if namespaces else ():
        namespace = _namespace(owner)
        if namespace is not None and id(namespace) in owners:
            _attributes(owner, namespace, wanted, found)
    cells = [item for item in holders if type(item) is types.CellType]
    for holder in holders:
        if _is_class(holder):
            _attributes(holder, dict(type.__dict__["__dict__"].__get__(holder)), wanted, found)
        else:
            namespace = _namespace(holder)
            if namespace is not None:  # an instance that keeps its attributes in itself
                _attributes(holder, namespace, wanted, found)
    for cell in cells:
        for closure in gc.get_referrers(cell):
            for owner in gc.get_referrers(closure) if type(closure) is tuple else ():
                if type(owner) is types.FunctionType:
                    label = _function(vars(owner).get("__wrapped__", owner))
                    if label is not None:
                        found.setdefault(id(cell.cell_contents), label)
    return found


def _attributes(
    owner: object, namespace: dict[str, Any], wanted: dict[int, Any], found: dict[int, str]
) -> None:
    for name, value in list(namespace.items()):
        if id(value) in wanted and type(name) is str:
            is_function = type(owner) is types.FunctionType
            # What decorates a function may be an object of a class of the library's.
            of = namespace.get("__wrapped__", owner if is_function else None)
            label = None if of is None else _function(of)
            if label is None:
                cls: Any = owner if _is_class(owner) else type(owner)
                if _is_keeper(cls.__module__):
                    continue
                label = f"{cls.__module__}.{cls.__qualname__}.{name}"
            found.setdefault(id(value), label)


# Any object of the program may come by here, lazy ones and proxies among them: what they are is not
# asked of them (isinstance asks), and what they hold is read past what they override.


def _is_class(item: object) -> bool:
    return issubclass(type(item), type)


def _is_keeper(module: object) -> bool:
    return str(module).partition(".")[0] in KEEPERS


def _namespace(item: object) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(item, "__dict__")
    except Exception:
        return None
    return found if type(found) is dict else None


def _function(function: object) -> str | None:
    names = names_of(function)
    return None if names is None or _is_keeper(names[0]) else ".".join(names)
