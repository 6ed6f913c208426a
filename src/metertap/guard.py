"""Faults of our own: swallowed, counted, and told once a place.

Whatever goes wrong inside metertap must not reach the program that it measures. Each place
that could fail runs under `guarded`, and the counts leave as `metertap.errors`: the meter
meters itself.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType

logger = logging.getLogger("metertap")
"""The one logger. Python sends its warnings to stderr unless the program says otherwise."""

_lock = threading.Lock()
_counts: dict[str, int] = {}
_warned: set[str] = set()


class guarded:  # lower case: `with guarded("json.collect"):`
    """Run a block of ours; an exception of it is counted under `place` and goes no further."""

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            fault(self._place, error)
            return True
        return False


def fault(place: str, reason: object) -> None:
    """Count one fault at `place`; the first one there is also a warning that gives `reason`."""
    with _lock:
        first = place not in _counts
        _counts[place] = _counts.get(place, 0) + 1
    if first:
        described = (
            f"{type(reason).__qualname__}: {reason}" if isinstance(reason, Exception) else reason
        )
        logger.warning("%s: %s (counted in metertap.errors, told once)", place, described)


def warn_once(key: str, message: str, *args: object) -> None:
    """Log a warning about the program's surroundings (a setting, a port) one time only."""
    with _lock:
        if key in _warned:
            return
        _warned.add(key)
    logger.warning(message, *args)


def fault_counts() -> dict[str, int]:
    """Faults so far, by place."""
    with _lock:
        return dict(_counts)


def reset() -> None:
    """Forget counts and what was told (tests, and the child of a fork)."""
    global _lock
    _lock = threading.Lock()
    _counts.clear()
    _warned.clear()
