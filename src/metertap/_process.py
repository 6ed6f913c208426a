"""The state of this process: one recorder, the settings in force, and the tap if there is one.

All module-level state of metertap that is not a fault count is here, so that a fork and a test
know what to make new.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from metertap import guard
from metertap.recording import Recorder
from metertap.settings import Settings, read

if TYPE_CHECKING:
    from metertap.tap import Tap


class _State:
    __slots__ = ("end_fork", "lock", "recorder", "settings", "tap")

    def __init__(self) -> None:
        self.lock = threading.RLock()  # reading the settings warns, and logging may come back here
        self.recorder = Recorder()
        self.settings: Settings | None = None
        self.tap: Tap | None = None
        self.end_fork: Callable[[], None] = lambda: None


_state = _State()


def recorder() -> Recorder:
    """The recorder of this process."""
    return _state.recorder


def settings() -> Settings:
    """The settings in force: those of `instrument()`, or what the environment says before it."""
    with _state.lock:  # what a thread reads here must not replace what instrument() was told
        if _state.settings is None:
            configure(read())
        assert _state.settings is not None
        return _state.settings


def is_enabled() -> bool:
    """Whether anything is to be recorded at all."""
    found = _state.settings
    return (found if found is not None else settings()).enabled


def configure(new: Settings) -> None:
    """Put `new` in force."""
    with _state.lock:
        _state.settings = new
        _state.recorder.configure(new.window_size, new.series_limit)


def tap() -> Tap | None:
    """The tap that is active, if any."""
    return _state.tap


def set_tap(new: Tap | None) -> None:
    _state.tap = new


def reset() -> None:
    """Forget settings, records and fault counts (tests)."""
    _state.settings = None
    _state.recorder.reset()
    _state.recorder.instruments = ()
    guard.reset()


def _before_fork() -> None:
    _state.end_fork = _state.recorder.before_fork()


def _forked_in_parent() -> None:
    _state.end_fork()


def _forked() -> None:
    with guard.guarded("fork"):
        guard.reset()
        _state.lock = threading.RLock()
        _state.recorder.forked()
        if _state.tap is not None:
            _state.tap.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_forked_in_parent, after_in_child=_forked
    )
