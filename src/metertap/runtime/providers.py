"""The instruments on each meter provider, and their locks around a fork."""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import MeterProvider

from metertap import state
from metertap.otel import sdk
from metertap.otel.by_provider import ByProvider
from metertap.otel.instruments import OtelInstruments
from metertap.unmocked import unmocked

_WAIT_SECONDS = 1.0
"""The longest, in seconds, that a fork waits for collections in progress."""

# A provider keeps an observable instrument for ever, so ours are made once for each provider.
_instruments = ByProvider(OtelInstruments)
_held: list[Any] = []
"""Locks of collections, held during the fork that this thread makes."""


def instruments_of(provider: MeterProvider) -> OtelInstruments:
    """Return our instruments on `provider`; made on first use."""
    return _instruments.of(provider)


def _before_fork() -> None:
    """Wait for collections in progress: the child would inherit their locks."""
    until = unmocked.monotonic() + _WAIT_SECONDS
    for provider in _instruments.providers():
        lock = sdk.collecting(provider)
        if lock is not None and lock.acquire(timeout=max(0.0, until - unmocked.monotonic())):
            _held.append(lock)


def _forked_in_parent() -> None:
    while _held:
        _held.pop().release()


def _forked() -> None:
    _held.clear()
    for provider in _instruments.providers():
        lock = sdk.collecting(provider)
        if lock is not None:
            lock._at_fork_reinit()


state.on_fork(before=_before_fork, parent=_forked_in_parent, child=_forked)
