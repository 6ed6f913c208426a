"""The lookups of backends' methods, their results, and the names of backends."""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sized
from contextvars import ContextVar
from typing import Any

from metertap import faults
from metertap.caching.adapter import ASKED, NOTHING, Ask, Asked, counts, is_own, replaced, within
from metertap.caching.getting import gets
from metertap.caching.layers import by, layer, setting
from metertap.caching.meters import ObjectMeters
from metertap.patching.targets import Live

_KNOWN = frozenset({"builtins", "collections", "diskcache", "django", "pylibmc", "pymemcache"})
"""Packages whose code may get a default of ours."""

_ASK_NOBODY = frozenset(f"django.core.cache.backends.{kind}" for kind in ("filebased", "locmem"))
"""Modules of backends that keep their entries themselves, and pass a default on to no one."""

_aliases: dict[int, tuple[weakref.ref[Any], str]] = {}


def _alias(cache: Any) -> str | None:
    made = _aliases.get(id(cache))
    if made is not None and made[0]() is cache:
        return made[1]
    if not sys.modules["django.conf"].settings.configured:  # asking would read them, or raise
        return None
    handler = sys.modules["django.core.cache"].caches  # it may have been made before the patch
    return next(
        (alias for alias in handler if getattr(handler._connections, alias, None) is cache), None
    )


def made(backend: Any, alias: str) -> None:
    """Name `backend`, which a thread got from `caches`, by its alias in `CACHES`."""
    identity = id(backend)
    _aliases[identity] = weakref.ref(backend, lambda ended: _forget(identity, ended)), alias


def _forget(identity: int, ended: weakref.ref[Any]) -> None:
    if (made := _aliases.get(identity)) is not None and made[0] is ended:
        del _aliases[identity]


_layer = layer.get
meters = ObjectMeters("django", supports=frozenset(), natural_name=_alias)
_find = meters.find


class _Lookup:
    """The layer of one lookup. `found` is the result of parent classes' methods, if called."""

    # Most lookups never set these, and save the assignment.
    asked: Any = None
    found: bool | None = None
    cache: Any
    default: Any
    given: Any


class _Once(setting):
    """One `get_or_set` of a key: one lookup, however often it asks for the key."""

    __slots__ = ("asked", "looked")

    def __init__(self, *asked: Any) -> None:
        super().__init__(_once, self)
        self.asked = asked
        self.looked = False

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self.asked = ()  # tasks begun by its default keep this context for ever


_once: ContextVar[_Once | None] = ContextVar("metertap_django_once", default=None)
_in_once = _once.get


def _asked_for(cache: Any, args: Any, kwargs: Any, version: int) -> tuple[Any, ...]:
    """Return the keys of a call; `version` is the position of that argument."""
    return (
        id(cache),
        args[0] if args else kwargs.get("key"),
        args[version] if len(args) > version else kwargs.get("version"),
    )


def _asks(*, known: bool) -> Ask:
    """Return the `Ask` of a lookup of one key.

    A method whose code is `known` gets a default of ours, which distinguishes a stored None.
    """

    def ask(cache: Any, args: Any, kwargs: Any) -> Asked | None:
        outer = by()
        if outer is not None and not (type(outer) is _Lookup and outer.cache is cache):
            return None  # part of another cache's lookup
        lookup = _Lookup()  # an `__init__` would take as long as all of this
        lookup.cache = cache
        if _in_once() is not None:
            lookup.asked = _asked_for(cache, args, kwargs, 2)
        lookup.default = default = args[1] if len(args) > 1 else kwargs.get("default")
        if not known or not _asks_only_known(cache):
            lookup.given = default
            return lookup, args, kwargs
        lookup.given = NOTHING
        if len(args) == 1:
            kwargs["default"] = NOTHING  # a dictionary of this call alone
            return lookup, args, kwargs
        return (lookup, *replaced(args, kwargs, 1, "default", NOTHING))

    return ask


def _asks_only_known(cache: Any) -> bool:
    """Return whether only clients that are not the program's own get the default."""
    held = vars(cache)
    client = held.get("_cache")
    if type(client) is OrderedDict:  # the entries of `locmem`
        return True
    if client is not None:
        return _is_known(type(client))
    if _is_known(type(cache)):  # the first call makes its client
        return _is_known(held.get("_class", dict))
    return not hasattr(type(cache), "_cache")


def _is_known(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _KNOWN


def _looked_up(cache: Any, lookup: _Lookup, value: Any) -> Any:
    found = value is not lookup.given
    if value is NOTHING:
        value = lookup.default
    elif type(value) is tuple and value and value[0] is NOTHING:  # diskcache's, with its tag
        value, found = (lookup.default, *value[1:]), False
    try:  # the program gets its own default in any case
        if lookup.found is not None:
            found = lookup.found
        outer = by()
        if type(outer) is _Lookup:
            outer.found = found or outer.found or False
            return value
        once = _in_once()
        if once is not None and once.asked == lookup.asked:
            if once.looked:
                return value
            once.looked = True
        meter = _find(id(cache)) or meters.of(cache)
        (meter.hit if found else meter.miss)()
    except Exception as fault:
        faults.fault("django", fault)
    return value


def get(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count `cache.get(key, default)` or `await cache.aget(...)`, which may call it in a thread."""
    known = any(is_own(method, package) for package in ("django", "diskcache"))
    # Django's own `aget` calls `get`, which the program may have overridden.
    known = known and method.__name__ == "get"
    general = counts("django", _looked_up, ask=_asks(known=known), layers=ASKED)
    if known and method.__module__ in _ASK_NOBODY:
        return gets(method, live, meters, general, meter_of=meters.of, asking=_in_once)
    return general(method, live)


def _ask_many(cache: Any, args: Any, kwargs: Any) -> Asked | None:
    keys = args[0] if args else kwargs.get("keys")
    if _layer() or not isinstance(keys, Sized):
        return None
    return list(keys), args, kwargs  # type: ignore[call-overload]


def _ask_many_known(cache: Any, args: Any, kwargs: Any) -> Asked | None:
    """Ask a method whose code is known; its keys may be an iterator, which is read only once."""
    keys = args[0] if args else kwargs.get("keys")
    if _layer() or isinstance(keys, Sized) or not isinstance(keys, Iterable):
        return _ask_many(cache, args, kwargs)
    asked: list[Any] = []

    def noted(key: Any) -> Any:
        asked.append(key)
        return key

    # No frame of ours is between the program's iterator and its reader.
    return (asked, *replaced(args, kwargs, 0, "keys", map(noted, keys)))


def _looked_up_many(cache: Any, asked: list[Any], found: Any) -> Any:
    meter = meters.of(cache)
    for key in asked:
        (meter.hit if key in found else meter.miss)()
    return found


def get_many(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count `cache.get_many(keys)` or `aget_many`, whose result lacks missing entries.

    An iterator for the program's own method is left alone: the lookups inside count instead.
    """
    ask = _ask_many_known if is_own(method, "django") else _ask_many
    return counts("django", _looked_up_many, ask=ask)(method, live)


get_or_set = within(lambda cache, args, kwargs: _Once(*_asked_for(cache, args, kwargs, 3)))
"""`cache.get_or_set(key, default)`. The default may be a function that makes lookups."""
