"""The cache to which a lookup belongs: clients that share a connection pool use one cache."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, cast

from metertap.caching.adapter import after
from metertap.caching.meters import NAMES, ObjectMeter, ObjectMeters
from metertap.caching.qualified_names import KEEPERS
from metertap.recording.cache_series import CacheSeries

_parents: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""The client from which a pipeline, or a client of one connection, comes."""


class Meter(ObjectMeter):
    """Meter of a connection pool, named by the variable that holds one of its clients."""

    __slots__ = ("client",)

    def __init__(self, cache: Any, *settings: Any) -> None:
        super().__init__(cache, *settings)
        self.client: Callable[[], Any] = lambda: None
        self.class_name = "redis.cluster"
        if not hasattr(cache, "nodes_manager"):
            self.class_name = f"redis.db{int(_settings(cache).get('db') or 0)}"

    def settle(self, series: CacheSeries, name: str) -> None:
        """Prefer a client's name to the library's own."""
        given = self.natural_name or NAMES.given(self.cache())
        if given is None and _is_the_librarys(name):
            client = self.client()
            (name,) = NAMES.of([(client, None)]) if client is not None else (name,)
            name = self.class_name if _is_the_librarys(name) else name
        super().settle(series, name)


meters = ObjectMeters(
    "redis",
    supports=frozenset(),
    natural_name=lambda pool: _settings(pool).get("client_name"),
    meter=Meter,
)
KEEPERS.add("redis")  # a pool in a client: the program did not choose that name


def _derived(client: Any, derived: Any, _args: Any, _kwargs: Any) -> None:
    _parents[derived] = _parents.get(client) or weakref.ref(client)


derive = after("redis", _derived)
"""`client.pipeline()` and `client.client()`: lookups of their results are the client's."""


def meter_of(client: Any) -> ObjectMeter:
    """Return the meter of `client`: that of its pool, or its own if the program named it."""
    return meters.of_part(client, _find_meter)


def _find_meter(client: Any) -> Meter:
    parent = _parents.get(client)
    known = parent() if parent is not None else None
    client = client if known is None else known
    owner = client
    if NAMES.given(client) is None:
        owner = getattr(client, "connection_pool", client)  # a cluster client has one for each node
    meter = cast(Meter, meters.of(owner))
    if meter.client() is None:
        meter.client = weakref.ref(client)
    return meter


def _settings(cache: Any) -> dict[str, Any]:
    holder = getattr(cache, "nodes_manager", cache)
    found = getattr(holder, "connection_kwargs", None)
    return found if isinstance(found, dict) else {}


def _is_the_librarys(name: str) -> bool:
    return name.partition(".")[0] == "redis"
