"""Faults of our own: swallowed, counted, and told once a place.

Whatever goes wrong inside metertap must not reach the program that it measures. Each place
that could fail runs under `guarded`, and the counts leave as `metertap.errors`: the meter
meters itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType

from metertap import locks
from metertap.text import printable, without_paths, without_secrets

logger = logging.getLogger("metertap")
"""The one logger. Python sends its warnings to stderr unless the program says otherwise."""

_SHOWN_LENGTH = 200

# Reentrant: a finaliser or a signal handler may come here while this thread is inside.
_lock = locks.rlock()
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


def fault(place: str, reason: BaseException | str) -> None:
    """Count one fault at `place`; the first one there is also a warning that gives `reason`."""
    with _lock:
        first = place not in _counts
        _counts[place] = _counts.get(place, 0) + 1
    if first:
        if isinstance(reason, BaseException):
            reason = f"{type(reason).__qualname__}: {shown(reason, str)}"
        warn("%s: %s (counted in metertap.errors, told once)", place, reason)


def warn_once(key: str, message: str, *args: object) -> None:
    """Log a warning about the program's surroundings (a setting, a port) one time only."""
    with _lock:
        if key in _warned:
            return
        _warned.add(key)
    warn(message, *args)


def warn(message: str, *args: object) -> None:
    """Log a warning. A program that has set up no logging shows its text and nothing else."""
    _log(logging.WARNING, message, args)


def info(message: str, *args: object) -> None:
    """Log what may be of interest. Only a program that has set up logging shows it."""
    _log(logging.INFO, message, args)


def shows_info() -> bool:
    """Say whether the program has set up logging that shows what `info` logs."""
    return logger.isEnabledFor(logging.INFO) and logger.hasHandlers()


def _log(level: int, message: str, args: tuple[object, ...]) -> None:
    """With our name in the text: not every program's format shows the logger's."""
    try:
        logger.log(level, f"metertap: {message}", *map(_safe, args))
    except Exception:  # noqa: S110  # a filter or handler of the program's: nowhere left to say so
        pass


def _safe(value: object) -> object:
    """Return what an argument of a message may become: one line that gives no secret away."""
    return value if isinstance(value, int | float) else printable(without_secrets(str(value)))


def shown(value: object, text_of: Callable[[object], str] = repr) -> str:
    """`value` as text for a warning: one line of bounded length, never a secret or an exception.

    Of addresses in it the path is not shown either.
    """
    try:
        text = without_paths(without_secrets(text_of(value)))
    except Exception:
        return f"<{type(value).__qualname__}>"
    return printable(text, _SHOWN_LENGTH)


def fault_counts() -> dict[str, int]:
    """Faults so far, by place."""
    with _lock:
        return dict(_counts)


def reset() -> None:
    """Forget counts and what was told (tests, and the child of a fork)."""
    _counts.clear()
    _warned.clear()
