"""An interrupt (Ctrl-C, a handler that raises) leaves no lock taken, wherever it comes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from metertap.recording import Recorder
from metertap.recording.cache_series import CacheSeries

pytestmark = pytest.mark.interpreter


def interrupted(do: Callable[[], object], number: int) -> bool:
    """Interrupt `do` where Python looks for signals the n-th time; False where it ends before.

    That is at the start of a function of Python's, and when one that is written in C returns.
    """
    seen = -1

    def see(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal seen
        if event in {"call", "c_return"}:
            seen += 1
            if seen == number:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(see)
    try:
        do()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def is_free(lock: Any) -> bool:
    """Return whether another thread gets it."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(lock.acquire(timeout=1)))
    thread.start()
    thread.join()
    return found == [True]


def test_a_call_that_is_interrupted_leaves_the_recorders_lock_free() -> None:
    number, is_over = 0, False
    kept = []  # or their ends would be interrupted
    while not is_over:
        kept.append(recorder := Recorder())
        series = recorder.tool("search", "library")
        series.append(1.0)
        series._items.append(1.0)
        is_over = not interrupted(series.due, number)
        assert is_free(recorder.lock), number
        number += 1
    assert number > 10


def test_a_cache_whose_end_is_interrupted_leaves_its_lock_free() -> None:
    number, is_over = 0, False
    kept = []
    while not is_over:
        series, part = (CacheSeries("answers", "library") for _ in range(2))
        kept.append(series)
        series.parts.append(part)
        is_over = not interrupted(lambda: series.absorb(part), number)  # noqa: B023
        assert is_free(series._lock), number
        number += 1
    assert number > 5
