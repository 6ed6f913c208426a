"""diskcache: every lookup in a `Cache`, and so in `FanoutCache`, `Index` and under `memoize`.

All of them end in `Cache.get`, which is wrapped. The shards of a `FanoutCache` are one cache, under
the name of the whole. `Index.setdefault` looks again once it has stored: its first look counts.
`key in index` reads the entry, and so do the recipes' locks and averages: these are no lookups.

Evicted is what `_cull` drops when something is stored, and what `cull` and `expire` remove: the
rows that each transaction hands on for clean-up, counted once it is committed. Removing a tag
(`evict`) or everything (`clear`) is the program's own doing.

The statistics in the database are of all processes that share it: they are neither switched on nor
read. A cache is called by the last part of its directory, unless that is a temporary one.

Not seen: a subclass that overrides `get` without calling it. To read a `Deque`, to iterate over an
`Index`'s values and to be delayed by `throttle` count, as in diskcache's own statistics.
"""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from metertap import calls, guard
from metertap.cache_names import KEEPERS
from metertap.caches import ObjectMeters, counting, layer
from metertap.patching import PatchSet, Target
from metertap.recording.caches import EVICTIONS
from metertap_instrumentation.instrumentation import Instrumentation, Version

_NOTHING: Any = object()
_DEFAULT = 1  # its place among the arguments of `get`

_layer = layer.get
_removing: ContextVar[bool] = ContextVar("metertap_diskcache_removing", default=False)
_transactions: dict[int, Transaction] = {}
"""By the identity of a cache: of all its transactions only one is not waiting."""
_wholes: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""The `FanoutCache` that a shard is of."""


def _directory(cache: Any) -> str | None:
    parent, name = os.path.split(os.path.abspath(cache.directory))
    temporary = name.startswith("diskcache-") and os.path.samefile(parent, tempfile.gettempdir())
    return None if temporary else name or None


meters = ObjectMeters("diskcache", supports=frozenset({EVICTIONS}), natural_name=_directory)
KEEPERS.add("diskcache")  # an index keeps its cache in `_cache`


class _FanoutPatchSet(PatchSet):
    def follow(self, module: Any) -> None:
        """Those that were made before have shards, too."""
        classes = tuple(_and_subclasses(module.FanoutCache))
        for found in gc.get_referrers(*classes):
            if type(found) in classes:
                with guard.guarded("diskcache"):
                    _remember(found)


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    recipes = (
        "Averager.add",
        "BoundedSemaphore.acquire",
        "BoundedSemaphore.release",
        "RLock.acquire",
        "RLock.release",
    )
    return [
        PatchSet(
            "diskcache.core",
            [
                Target("Cache.get", get),
                Target("Cache._transact", transact),
                Target("Cache._cull", cull_some),
                Target("Cache.cull", remove),
                Target("Cache.expire", remove),
            ],
        ),
        _FanoutPatchSet("diskcache.fanout", [Target("FanoutCache.__init__", made)]),
        PatchSet(
            "diskcache.persistent",
            [Target("Index.__contains__", not_a_lookup), Target("Index.setdefault", setdefault)],
        ),
        PatchSet("diskcache.recipes", [Target(name, not_a_lookup) for name in recipes]),
    ]


INSTRUMENTATION = Instrumentation(
    name="diskcache",
    distribution="diskcache",
    supported=((5, 0), (6,)),
    patch_sets=_patch_sets,
)


def get(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get(key, default)`, with a default that tells a miss from a stored value."""
    default = None
    counted = False
    with guard.guarded("diskcache"):
        outer = _layer()
        if outer is None or (type(outer) is _First and outer.is_first()):
            counted = True
            if len(args) > _DEFAULT:
                default = args[_DEFAULT]
                args = (*args[:_DEFAULT], _NOTHING, *args[_DEFAULT + 1 :])
            else:
                default = kwargs.get("default")
                kwargs = {**kwargs, "default": _NOTHING}
    try:
        value = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("diskcache"):
            calls.hide_frame(error)
        raise
    if not counted:
        return value
    found = True
    if value is _NOTHING:
        value, found = default, False
    elif type(value) is tuple and value and value[0] is _NOTHING:  # with its tag or expiry
        value, found = (default, *value[1:]), False
    try:
        meter = meters.of(_whole(instance))
        if found:
            meter.hit()
        else:
            meter.miss()
    except Exception as fault:
        guard.fault("diskcache", fault)
    return value


def not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Reads entries to see whether they are there, or to change them."""
    try:
        with counting(instance):
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("diskcache"):
            calls.hide_frame(error)
        raise


def setdefault(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`index.setdefault(key, default)`."""
    try:
        if _layer() is not None:
            return wrapped(*args, **kwargs)
        with counting(_First()):
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("diskcache"):
            calls.hide_frame(error)
        raise


def transact(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`with cache._transact() as (sql, cleanup):`, in which everything is written."""
    transaction = wrapped(*args, **kwargs)  # this only makes a generator
    with guard.guarded("diskcache"):
        return Transaction(instance, transaction)
    return transaction


def cull_some(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache._cull(now, sql, cleanup)`: makes room, in the transaction that stores something."""
    dropped: Sequence[Any] = ()
    before = 0
    with guard.guarded("diskcache"):
        dropped = (args[2] if len(args) > 2 else kwargs["cleanup"]).__self__
        before = len(dropped)
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("diskcache"):
            calls.hide_frame(error)
        raise
    with guard.guarded("diskcache"):
        _transactions[id(instance)].evicted += len(dropped) - before
    return result


def remove(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.cull()`, `cache.expire()`: transactions that do nothing but evict."""
    token = _removing.set(True)
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("diskcache"):
            calls.hide_frame(error)
        raise
    finally:
        _removing.reset(token)


def made(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`FanoutCache(directory)`."""
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("diskcache"):
            calls.hide_frame(error)
        raise
    with guard.guarded("diskcache"):
        _remember(instance)
    return result


class Transaction:
    """What is evicted in a transaction counts when it is committed, with the one around it."""

    def __init__(self, cache: Any, transaction: Any) -> None:
        self.evicted = 0
        self._cache = cache
        self._transaction = transaction
        self._around: Transaction | None = None
        self._dropped: Sequence[Any] = ()

    def __enter__(self) -> Any:
        nested = self._cache._txn_id == threading.get_ident()
        try:
            entered = self._transaction.__enter__()
        except BaseException as error:
            calls.hide_frame(error)
            raise
        with guard.guarded("diskcache"):
            if nested:
                self._around = _transactions.get(id(self._cache))
            if _removing.get():
                self._dropped = entered[1].__self__
            _transactions[id(self._cache)] = self
        return entered

    def __exit__(self, *raised: Any) -> Any:
        with guard.guarded("diskcache"):  # first of all: once it is committed, another begins
            if self._around is None:
                _transactions.pop(id(self._cache), None)
            else:
                _transactions[id(self._cache)] = self._around
            self.evicted += len(self._dropped)
        try:
            result = self._transaction.__exit__(*raised)
        except BaseException as error:
            calls.hide_frame(error)
            raise
        with guard.guarded("diskcache"):
            if raised[0] is None and self.evicted:
                if self._around is None:
                    meters.of(_whole(self._cache)).evicted(self.evicted)
                else:
                    self._around.evicted += self.evicted
        return result


class _First:
    """The layer of an operation that looks more than once for one entry."""

    __slots__ = ("_looked",)

    def __init__(self) -> None:
        self._looked = False

    def is_first(self) -> bool:
        looked, self._looked = self._looked, True
        return not looked


def _remember(fanout: Any) -> None:
    whole = weakref.ref(fanout)
    for shard in fanout._shards:
        _wholes[shard] = whole


def _whole(cache: Any) -> Any:
    reference = _wholes.get(cache)
    whole = None if reference is None else reference()
    return cache if whole is None else whole


def _and_subclasses(cls: Any) -> Iterator[Any]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _and_subclasses(subclass)
