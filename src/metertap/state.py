"""The state of this process: its recorder, the settings in force, and what a fork must renew.

Locks, registries and caches of a whole process live here, or in the module that owns them and
registers with `on_fork` and `on_reset`. So a forked child and a test start from nothing, and nobody
is forgotten.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable

from metertap import faults, locks, recording
from metertap.recording.recorder import Recorder
from metertap.settings.settings import Settings, read

Hook = Callable[[], None]


_AtFork = tuple[Hook | None, Hook | None, Hook | None]
"""Functions that run around a fork: before it, in the parent and in the child."""


class _State:
    __slots__ = (
        "at_fork",
        "enabled",
        "end_fork",
        "is_forked",
        "lock",
        "recorder",
        "reset",
        "settings",
    )

    def __init__(self) -> None:
        # Reentrant: reading the settings warns, and a logging handler may come back here.
        self.lock = locks.rlock()
        self.recorder = Recorder()
        self.settings: Settings | None = None
        self.enabled: bool | None = None  # None: not before somebody has read the settings
        self.end_fork: Hook = lambda: None
        self.is_forked = False
        self.at_fork: list[_AtFork] = []
        self.reset: list[Hook] = []


_state = _State()
_forking = threading.local()
"""The functions that were called before the fork that this thread makes."""


def recorder() -> Recorder:
    """Return the recorder of this process."""
    return _state.recorder


def settings() -> Settings:
    """Return the settings in force; before `instrument()`, what the environment says."""
    found = _state.settings
    if found is not None:
        return found
    with _state.lock:  # what a thread reads here must not replace what instrument() was told
        if _state.settings is None:
            configure(read())
        assert _state.settings is not None
        return _state.settings


def is_enabled() -> bool:
    """Return whether anything is to be recorded at all.

    So it is before the first `instrument()` as well, and from `stop` to the next one it is not.
    """
    enabled = _state.enabled
    return settings().enabled if enabled is None else enabled


def is_forked() -> bool:
    """Return whether this process was forked from one that had metertap imported."""
    return _state.is_forked


def configure(new: Settings) -> None:
    """Put `new` in force, and record from now on if it says so."""
    _state.recorder.look()  # Caches that are not named yet would lose their counts.
    with _state.lock:
        _state.settings = new
        _state.enabled = new.enabled
        _state.recorder.configure(new.window_size, new.series_limit, new.fees, new.weight)


def stop() -> None:
    """Record nothing until `configure` is called again."""
    _state.recorder.look()
    with _state.lock:
        _state.enabled = False
        _state.recorder.forget_slots()


def on_fork(
    *, before: Hook | None = None, parent: Hook | None = None, child: Hook | None = None
) -> None:
    """Call these around every fork: `before` it, then in the `parent` and in the `child`.

    Hooks for `before` run last registered first, the others first registered first. What one
    raises is counted as a fault, and the others run.
    """
    _state.at_fork.append((before, parent, child))


def on_reset(hook: Hook) -> None:
    """Call `hook` whenever `metertap.reset()` forgets everything."""
    _state.reset.append(hook)


def reset() -> None:
    """Forget settings, records, fault counts and what was registered with `on_reset`."""
    _state.settings = _state.enabled = None
    _state.recorder.reset()
    _state.recorder.instruments = ()
    faults.reset()
    _run(_state.reset, "reset")


def _run(hooks: Iterable[Hook | None], place: str) -> None:
    for hook in hooks:
        if hook is not None:
            with faults.guarded(place):
                hook()


def _before_fork() -> None:
    # A hook may import what has hooks of its own, and so may another thread meanwhile. Those that
    # were not called before are not called after.
    found: list[_AtFork] = []
    while new := _state.at_fork[len(found) :]:
        _run([before for before, _, _ in reversed(new)], "fork")
        found += new
    _forking.hooks = found
    with faults.guarded("fork"):
        recording.load()
    # Last: the other hooks may record, and nothing of ours may wait while this lock is held.
    _state.end_fork = _state.recorder.before_fork()


def _forked_in_parent() -> None:
    _state.end_fork()
    _run([parent for _, parent, _ in _forking.hooks], "fork")


def _forked() -> None:
    _state.is_forked = True
    with faults.guarded("fork"):
        locks.renew()
        faults.forked()
        _state.recorder.forked()
    _run([child for _, _, child in _state.at_fork], "fork")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_forked_in_parent, after_in_child=_forked
    )
