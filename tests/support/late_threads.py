"""Threads of metertap's that begin late, as on a machine that has no time for them."""

from __future__ import annotations

import threading

import pytest

from metertap import threads
from metertap.threads import Thread


def late_threads(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let threads begin only once the event that is returned is set, and nobody wait for that."""
    may_begin, begin = threading.Event(), Thread._bootstrap_inner

    def late(thread: Thread) -> None:
        may_begin.wait(60)
        begin(thread)

    monkeypatch.setattr(Thread, "_bootstrap_inner", late)
    monkeypatch.setattr(threads, "_BEGIN_SECONDS", 0.01)
    return may_begin
