"""Evictions: rows that a transaction drops to make room, once it is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from metertap import faults, state
from metertap.caching.adapter import within
from metertap.caching.layers import setting
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.diskcache.meters import meter_of

_removing: ContextVar[bool] = ContextVar("metertap_diskcache_removing", default=False)
_transactions: dict[int, Transaction] = {}
"""The running transaction of each cache, by identity; others wait until it has ended."""
state.on_fork(child=_transactions.clear)  # those of the parent's threads are not the child's


def transact(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count what a transaction (`with cache._transact() as (sql, cleanup):`) evicts."""

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        transaction = method(self, *args, **kwargs)  # this only makes a generator
        if live:
            with faults.guarded("diskcache"):
                return Transaction(self, transaction)
        return transaction

    return call


def cull_some(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count what `cache._cull(now, sql, cleanup)` evicts, which makes room for what is stored.

    It drops what is expired first, then what the policy says.
    """

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        dropped: Sequence[Any] = ()
        by_policy: list[int] = []  # where that begins in what is dropped
        if live:
            with faults.guarded("diskcache"):
                now, sql, cleanup, *rest = args
                dropped = cleanup.__self__

                def seen(statement: str, *values: Any) -> Any:
                    if "expire_time <" not in statement:
                        by_policy[:] = [len(dropped)]
                    return sql(statement, *values)

                args = (now, seen, cleanup, *rest)
        try:
            result = method(self, *args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        if by_policy and (transaction := _transactions.get(id(self))) is not None:
            transaction.evicted += len(dropped) - by_policy[0]
        return result

    return call


cull = within(lambda *_call: setting(_removing, True))
"""Wraps `cache.cull()`, which drops what is expired and then evicts."""
expire = within(lambda *_call: setting(_removing, False))
"""Wraps `cache.expire()`: what it drops is not evicted, within `cull` neither."""


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
        with faults.guarded("diskcache"):  # first of all: once it is committed, another begins
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
