"""Names of caches that an operator recognises, and that are the same after a restart. Never a key.

In this order: the name that the program gave (`metertap.name_cache`), the library's own name for
the cache (a directory, an alias, the decorated function), the attribute or variable that holds it
(`shop.cache.sessions`, `shop.api.Catalogue.prices`), and otherwise its class.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from metertap import faults, locks
from metertap.caching.bindings import bindings
from metertap.caching.qualified_names import names_of_class
from metertap.labels import as_label


class Names:
    """A finder of the names of many objects at once: a search walks over all objects."""

    def __init__(self) -> None:
        self._given: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._lock = locks.rlock()  # reentrant: a signal handler may name a cache meanwhile

    def give(self, cache: object, name: str) -> None:
        """Call `cache` by `name`. Raises `TypeError` for no name, or a cache that takes none."""
        if not isinstance(name, str) or not name:
            raise TypeError("a cache's name is a text that is not empty")
        identity = id(cache)
        with self._lock:
            forgotten = weakref.ref(cache, lambda _: self._given.pop(identity, None))
            self._given[identity] = (forgotten, as_label(name))

    def given(self, cache: object) -> str | None:
        """Return the name that the program gave `cache`, or None."""
        found = self._given.get(id(cache))
        return found[1] if found is not None and found[0]() is cache else None

    def of(self, wanted: Sequence[tuple[Any, str | None]]) -> list[str]:
        """Return the names of objects, which come with their natural names, if they have any.

        None in place of an object is one that has ended.
        """
        names = [
            None if cache is None else self.given(cache) or natural for cache, natural in wanted
        ]
        # Tuples, as below: what is in a dictionary or a list is looked for in that.
        lacking = tuple(wanted[index][0] for index, name in enumerate(names) if name is None)
        found: dict[int, str] = {}
        with faults.guarded("caches.names"):  # without names they count as their classes
            found = bindings(tuple(cache for cache in lacking if cache is not None))
        return [
            as_label(name or found.get(id(cache)) or self.unbound(cache))
            for name, (cache, _) in zip(names, wanted, strict=True)
        ]

    def unbound(self, cache: object) -> str:
        """Return the common name of all caches of a class that no variable or attribute holds."""
        return ".".join(names_of_class(type(cache)))
