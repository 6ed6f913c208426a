"""A finaliser that waits for a lock of the program's, while its thread holds one of metertap's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import metertap
from metertap import locks, state

pytestmark = pytest.mark.interpreter


@contextmanager
def stuck() -> Iterator[None]:
    """Let another thread be inside, as if it ran a finaliser that waits for this one."""
    held, goes_on = threading.Event(), threading.Event()

    def hold() -> None:
        with state.recorder().lock:
            held.set()
            goes_on.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    yield
    goes_on.set()
    thread.join()


def fails(kind: type[Exception]) -> None:
    @metertap.tool(name="search")
    def search() -> None:
        raise kind

    with pytest.raises(kind):
        search()


def block() -> None:
    with metertap.measure_tool("search"):
        pass


def decorated() -> None:
    metertap.tool(name="search")(lambda: None)()


def cache() -> None:
    meter = metertap.cache_meter("answers")
    meter.hit()
    meter.evicted()


def twice() -> None:
    with metertap.measure_tool("search"):
        decorated()


@pytest.mark.parametrize(
    ("use", "counted"),
    [
        (decorated, 1),
        (block, 1),
        (lambda: fails(KeyError), 1),
        (lambda: (fails(KeyError), fails(IndexError)), 2),
        (twice, 1),
        (cache, 1),
        (lambda: metertap.record_tool_call("search", success=True, latency_ms=1.0), 1),
    ],
)
def test_no_call_waits_for_who_waits_for_it(
    use: Callable[[], object], counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    tap = metertap.instrument(json_endpoint=False)
    metertap.record_tool_call("first", success=True)  # begins what waits for the first record
    tap.snapshot()
    with stuck():
        started = time.monotonic()
        for _ in range(100):  # once one has waited, no other waits until the lock was free
            use()
        took = time.monotonic() - started
    assert took < 10
    document = tap.snapshot()
    if use is cache:
        assert document["cache_metrics"]["answers"]["hits"] == 100 * counted
    else:
        assert document["tool_metrics"]["search"]["total_calls"] == 100 * counted


def test_a_lock_that_was_waited_for_in_vain_is_waited_for_again_once_it_was_free() -> None:
    lock, held, goes_on = locks.rlock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            goes_on.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    done: list[str] = []
    assert not locks.tried(lock, lambda: done.append("first"), 0.01)
    assert locks.briefly(lock, lambda: "without it") == "without it"
    goes_on.set()
    thread.join()
    assert locks.tried(lock, lambda: done.append("second"), 60)
    assert (done, lock in locks._stuck) == (["second"], False)
