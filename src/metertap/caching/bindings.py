"""The variables and attributes that hold caches, found among all objects of the process."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from metertap.caching.qualified_names import is_class, is_keeper, label_of, names_of_class
from metertap.variables import variables_of

_AT_ONCE = 64
"""The most objects whose referrers are asked for at once."""
_MOST_HOLDERS = 10 * _AT_ONCE
"""The most dictionaries or cells that hold caches, and closures, that are looked through."""


def bindings(caches: Sequence[object]) -> dict[int, str]:
    """Return names, by identity, of the variables and attributes that hold the caches."""
    if not caches:
        return {}
    names = _in_modules(caches)
    left = {id(cache): (cache,) for cache in caches if id(cache) not in names}
    looked_at: set[int] = set()
    while left:
        group = tuple(cache for (cache,) in islice(left.values(), _AT_ONCE))
        holders = [item for item in gc.get_referrers(*group) if item is not group]
        owners: dict[int, type] = {}
        names.update(_in_objects(group, holders, owners))
        for cache in group:
            del left[id(cache)]
        if left:
            new = [cls for identity, cls in owners.items() if identity not in looked_at]
            names.update(_in_instances(new, left))
            _drop_alike(group, holders, names, left, looked_at)
            looked_at.update(owners)
        left = {identity: cache for identity, cache in left.items() if identity not in names}
    return names


def _in_instances(classes: Sequence[type], wanted: dict[int, Any]) -> dict[int, str]:
    """Return names of attributes of all instances of these classes."""
    found: dict[int, str] = {}
    for group in _groups(classes):
        kinds = {*map(id, group)}  # not the classes: hashing them calls their metaclass
        for owner in gc.get_referrers(*group):
            if id(type(owner)) in kinds and _may_hold(owner, wanted):
                _attributes(owner, variables_of(owner) or {}, wanted, found, {})
    return found


def _may_hold(owner: object, wanted: dict[int, Any]) -> bool:
    """Return whether an object holds one of the wanted, or a dictionary that may hold it.

    An object that is asked for its variables keeps a dictionary of them from then on, which would
    take much memory where a class has a million objects, of which some have a cache.
    """
    return any(id(held) in wanted or type(held) is dict for held in gc.get_referents(owner))


def _drop_alike(
    group: Sequence[object],
    holders: Iterable[Any],
    names: dict[int, str],
    left: dict[int, Any],
    looked_at: set[int],
) -> None:
    """Remove from `left` what is in a dictionary or list of which no object has a name.

    A program may keep a cache for each of its users there. It may also list caches there that are
    attributes of its objects, among others: these are looked for.
    """
    named = {id(cache) for cache in group if id(cache) in names}
    nameless = {id(cache) for cache in group} - named
    for holder in holders:
        kind = type(holder)
        if (kind is dict or kind is list) and id(holder) not in looked_at:
            held = [*map(id, [*holder.values()] if kind is dict else [*holder])]
            if named.isdisjoint(held) and not nameless.isdisjoint(held):
                looked_at.add(id(holder))
                for identity in held:
                    left.pop(identity, None)


def _groups(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Divide items into groups whose referrers can be asked for at once.

    Python compares each reference in the process with each item of a group, and no other thread
    runs meanwhile.
    """
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))


def _in_modules(caches: Iterable[object]) -> dict[int, str]:
    wanted = {id(cache) for cache in caches}
    found: dict[int, str] = {}
    for module_name, module in sys.modules.copy().items():
        namespace = variables_of(module)
        if namespace is None:
            continue
        for name, value in list(namespace.items()):
            if id(value) in wanted:
                # A module that imported the name is not the one that defined it: that one was
                # imported first.
                found.setdefault(id(value), f"{module_name}.{name}")
    return found


def _in_objects(
    caches: Sequence[object], holders: Sequence[Any], owners: dict[int, type]
) -> dict[int, str]:
    """Return names of attributes of instances, classes and functions, and of closures.

    The classes of these instances are added to `owners`.
    """
    wanted = {id(cache): cache for cache in caches}
    found: dict[int, str] = {}
    # One cache may have any number of holders. The first ones of them have a name, or none has.
    namespaces = [item for item in holders if type(item) is dict and item is not wanted]
    for group in _groups(namespaces[:_MOST_HOLDERS]):
        if len(found) < len(wanted):
            _of_owners(group, wanted, found, owners)
    for holder in holders:
        if is_class(holder):
            members = dict(type.__dict__["__dict__"].__get__(holder))
            _attributes(holder, members, wanted, found, owners)
        elif len(found) < len(wanted):
            namespace = variables_of(holder)
            if namespace is not None:  # an instance whose attributes are in the object itself
                _attributes(holder, namespace, wanted, found, owners)
    cells = [item for item in holders if type(item) is types.CellType]
    for group in _groups(cells[:_MOST_HOLDERS]):
        if len(found) < len(wanted):
            _in_closures(group, wanted, found)
    return found


def _of_owners(
    namespaces: Sequence[dict[str, Any]],
    wanted: dict[int, Any],
    found: dict[int, str],
    owners: dict[int, type],
) -> None:
    """Find names of attributes of the instances and functions that have these namespaces."""
    owned = {id(namespace) for namespace in namespaces}
    for owner in gc.get_referrers(*namespaces):
        namespace = variables_of(owner)
        if namespace is not None and id(namespace) in owned:
            _attributes(owner, namespace, wanted, found, owners)


def _in_closures(cells: Sequence[Any], wanted: dict[int, Any], found: dict[int, str]) -> None:
    """Find names of functions that have these cells in their closures."""
    asked = {id(cell) for cell in cells}
    closures = [item for item in gc.get_referrers(*cells) if type(item) is tuple]
    for group in _groups(closures[:_MOST_HOLDERS]):
        for owner in gc.get_referrers(*group):
            if type(owner) is not types.FunctionType:
                continue
            for cell in owner.__closure__ or ():
                held = _held(cell) if id(cell) in asked else None
                if id(held) in wanted:
                    label = label_of(vars(owner).get("__wrapped__", owner))
                    if label is not None:
                        found.setdefault(id(held), label)


def _held(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable was deleted meanwhile
        return None


def _attributes(
    owner: object,
    namespace: dict[str, Any],
    wanted: dict[int, Any],
    found: dict[int, str],
    owners: dict[int, type],
) -> None:
    for name, value in list(namespace.items()):
        if id(value) in wanted and type(name) is str:
            is_function = type(owner) is types.FunctionType
            # A decorator may be an object of one of the library's classes.
            of = namespace.get("__wrapped__", owner if is_function else None)
            label = None if of is None else label_of(of)
            if label is None:
                cls: Any = owner if is_class(owner) else type(owner)
                module, class_name = names_of_class(cls)
                if is_keeper(module):
                    continue
                label = f"{module}.{class_name}.{name}"
                if cls is not owner:
                    owners[id(cls)] = cls
            found.setdefault(id(value), label)
