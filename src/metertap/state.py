"""The state of this process: its recorder, the settings in force, and what a fork must renew.

Locks, registries and caches that exist once in a process live here, or in the module that owns them
and registers with `on_fork` and `on_reset`. So a forked child, and each test, start from nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable

from metertap import faults, locks, recording
from metertap.recording.recorder import Recorder
from metertap.settings.settings import Settings, read

Hook = Callable[[], None]


_AtFork = tuple[Hook | None, Hook | None, Hook | None]
"""Three functions for a fork: to call before it, in the parent, and in the child."""


class _State:
    __slots__ = (
        "at_fork",
        "enabled",
        "is_forked",
        "lock",
        "recorder",
        "reset",
        "settings",
    )

    def __init__(self) -> None:
        # Reentrant: reading the settings may warn, and a logging handler may call metertap.
        self.lock = locks.rlock()
        self.recorder = Recorder()
        self.settings: Settings | None = None
        self.enabled: bool | None = None  # None until the settings were read
        self.is_forked = False
        self.at_fork: list[_AtFork] = []
        self.reset: list[Hook] = []


class _Forks(threading.local):
    """The forks that this thread is making, and the hooks of each that have begun.

    There are several if a signal handler forks and interrupts the hooks of another fork.
    """

    def __init__(self) -> None:
        self.under_way: list[list[_AtFork]] = []


_state = _State()
_forks = _Forks()


def recorder() -> Recorder:
    """Return the recorder of this process."""
    return _state.recorder


def settings() -> Settings:
    """Return the settings in force; before `instrument()`, what the environment says."""
    found = _state.settings
    if found is not None:
        return found
    with _state.lock:  # must not replace what instrument() sets
        if _state.settings is None:
            configure(read())
        assert _state.settings is not None
        return _state.settings


def is_enabled() -> bool:
    """Return whether calls and lookups are to be recorded.

    They are before the first `instrument()` as well; they are not from `stop` to the next one.
    """
    enabled = _state.enabled
    return settings().enabled if enabled is None else enabled


def is_forked() -> bool:
    """Return whether this process was forked from one that had metertap imported."""
    return _state.is_forked


def configure(new: Settings) -> None:
    """Put `new` in force, and record from now on unless it disables that."""
    _state.recorder.look()  # caches that have no name yet would lose their counts
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

    `before` hooks run in reverse order of registration, the others in order. An exception of a hook
    counts as a fault, and the other hooks run.
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
    # A signal handler may fork while this thread is making another fork. The handler's fork runs
    # no hook that the other one has begun: that one holds the hook's lock already, or waits for it,
    # and this one would wait just as long.
    held = [hooks for fork in _forks.under_way for hooks in fork]
    begun: list[_AtFork] = []
    _forks.under_way.append(begun)
    seen = 0
    # A hook, or another thread meanwhile, may import a module that registers hooks.
    while new := _state.at_fork[seen:]:
        seen += len(new)
        _begin(reversed(new), begun, held)
    with faults.guarded("fork"):
        recording.load()
    # Last: the other hooks may record, and must not wait for this lock.
    _begin([_RECORDER], begun, held)


def _begin(found: Iterable[_AtFork], begun: list[_AtFork], held: Collection[_AtFork]) -> None:
    for hooks in found:
        if hooks not in held:
            begun.append(hooks)
            _run(hooks[:1], "fork")


def _forked_in_parent() -> None:
    begun = _forks.under_way[-1] if _forks.under_way else []
    try:
        _end(begun)
    finally:
        _end(begun)  # what an interrupt has left
        del _forks.under_way[-1:]


def _end(begun: list[_AtFork]) -> None:
    while begun:
        try:
            _run(begun[-1][1:2], "fork")
        finally:
            begun.pop()


def _forked() -> None:
    _state.is_forked = True
    try:
        with faults.guarded("fork"):
            locks.renew()
            faults.forked()
            _state.recorder.forked()
        _run([child for _, _, child in _state.at_fork], "fork")
    finally:
        # A handler that has forked may return in the child. The fork that it has interrupted goes
        # on there, and holds nothing any more.
        for begun in _forks.under_way:
            begun.clear()
        del _forks.under_way[-1:]


_RECORDER: _AtFork = (
    lambda: _state.recorder.before_fork(),
    lambda: _state.recorder.forked_in_parent(),
    None,
)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_forked_in_parent, after_in_child=_forked
    )
