"""Evictions: rows that a transaction drops to make room, once it is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from metertap import faults, state
from metertap.caching.adapter import within
from metertap.caching.layers import setting
from metertap.patching.parameters import shaped
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.diskcache.meters import meter_of

_removing: ContextVar[bool] = ContextVar("metertap_diskcache_removing", default=False)
_transactions: dict[int, Transaction] = {}
"""The running transaction of each cache, by identity; others wait for its end."""
state.on_fork(child=_transactions.clear)  # a child has none of its parent's threads


_TRANSACT = """
{kind} call({parameters}):
    _transaction = {call}
    return _counted({first}, _transaction) if _live else _transaction
"""
_CULL = """
{kind} call({parameters}):
    _given, _by_policy = {args}, None
    if _live:
        _given, _by_policy = _watched(_given)
    try:
        _result = _method({first}, *_given, **{kwargs})
    except BaseException as _error:
        _hide(_error)
        raise
    if _by_policy:
        _evicted({first}, *_by_policy)
    return _result
"""


def transact(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count what a transaction (`with cache._transact() as (sql, cleanup):`) evicts."""
    return shaped(method, _TRANSACT, counted=_counted, live=live)


def _counted(cache: Any, transaction: Any) -> Any:
    with faults.guarded("diskcache"):
        return Transaction(cache, transaction)
    return transaction


def cull_some(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count the evictions of `cache._cull(now, sql, cleanup)`, which makes room for a new entry.

    It drops expired entries first, and then others by the policy.
    """
    return shaped(method, _CULL, evicted=_evicted, hide=hide_frame, live=live, watched=_watched)


def _watched(args: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
    """Return the arguments of `_cull`, and a list of what it drops.

    A mark in the list shows where the entries dropped by the policy begin.
    """
    by_policy: list[Any] = []
    with faults.guarded("diskcache"):
        now, sql, cleanup, *rest = args
        dropped = cleanup.__self__

        def seen(statement: str, *values: Any) -> Any:
            if "expire_time <" not in statement:
                by_policy[:] = [dropped, len(dropped)]
            return sql(statement, *values)

        return (now, seen, cleanup, *rest), by_policy
    return args, by_policy


def _evicted(cache: Any, dropped: Sequence[Any], begin: int) -> None:
    transaction = _transactions.get(id(cache))
    if transaction is not None:
        transaction.evicted += len(dropped) - begin


cull = within(lambda *_call: setting(_removing, True))
"""Wraps `cache.cull()`, which drops expired entries and then evicts."""
expire = within(lambda *_call: setting(_removing, False))
"""Wraps `cache.expire()`, which evicts nothing, also within `cull`."""


class Transaction:
    """Context of a transaction whose evictions count once it, and any around it, is committed."""

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
            hide_frame(error)
            raise
        with faults.guarded("diskcache"):
            if nested:
                self._around = _transactions.get(id(self._cache))
            if _removing.get():
                self._dropped = entered[1].__self__
            _transactions[id(self._cache)] = self
        return entered

    def __exit__(self, *raised: Any) -> Any:
        with faults.guarded("diskcache"):  # first, before another transaction begins
            if self._around is None:
                _transactions.pop(id(self._cache), None)
            else:
                _transactions[id(self._cache)] = self._around
            self.evicted += len(self._dropped)
        try:
            result = self._transaction.__exit__(*raised)
        except BaseException as error:
            hide_frame(error)
            raise
        with faults.guarded("diskcache"):
            if raised[0] is None and self.evicted:
                if self._around is None:
                    meter_of(self._cache).evicted(self.evicted)
                else:
                    self._around.evicted += self.evicted
        return result
