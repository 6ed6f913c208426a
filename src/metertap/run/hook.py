"""What `metertap run` does inside the program: instrument, and flush when it is told to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from types import FrameType

from metertap import faults
from metertap.runtime.pipeline import FLUSH_MILLISECONDS
from metertap.runtime.tap import Tap, instrument
from metertap.settings import program


def start(modules_before: Iterable[str]) -> None:
    """Called before the program's first line, with the modules that were imported before us."""
    with faults.guarded("run"):
        tap = instrument()
        if tap.pipeline.pushes and os.name == "posix":
            _flush_on_sigterm(tap)
    with faults.guarded("run"):
        _give_way(set(sys.modules).difference(modules_before))


def _flush_on_sigterm(tap: Tap) -> None:
    """Push what was measured when SIGTERM ends the program.

    Python dies of SIGTERM without running exit handlers. Where nobody handles the signal, ours
    flushes for half a second at most and lets the signal end the process as it would have: its
    parent sees the same status. A handler that the program installs replaces ours; one that it
    restores when it is done (uvicorn) is ours again.

    Python runs handlers between two steps of its main thread: while that thread is inside a C
    function that neither returns nor minds signals, SIGTERM waits for it.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def flush_and_die(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the program at once
        with faults.guarded("run.sigterm"):
            # In a thread: this one may hold any lock, and must not wait for itself.
            flush = threading.Thread(target=tap.at_exit, daemon=True)
            flush.start()
            flush.join(FLUSH_MILLISECONDS / 1000)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, flush_and_die)
    _keep_from_children(flush_and_die)


def _keep_from_children(handler: Callable[[int, FrameType | None], None]) -> None:
    """Forked children have no handler of ours.

    Python forgets a signal that reaches a child before its first step: one that is terminated
    as soon as it is started would live on.
    """
    put_aside = False

    def put_it_aside() -> None:
        nonlocal put_aside
        put_aside = (
            threading.current_thread() is threading.main_thread()  # the only one that may
            and signal.getsignal(signal.SIGTERM) is handler
        )
        if put_aside:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def put_it_back() -> None:
        if put_aside:
            signal.signal(signal.SIGTERM, handler)

    os.register_at_fork(before=put_it_aside, after_in_parent=put_it_back)


def _give_way(modules: Iterable[str]) -> None:
    """Forget those of `modules` that the program's own folder has under the same name.

    A program may have a `statistics.py` beside it and mean that one; we were earlier and
    imported the standard library's, which stays ours.
    """
    folder = _program_folder()
    if folder is None:
        return
    for name in modules:
        top = name.partition(".")[0]
        theirs = PathFinder.find_spec(top, [str(folder)])
        if theirs is None or theirs.loader is None or top in sys.builtin_module_names:
            continue
        ours = getattr(sys.modules.get(top), "__spec__", None)
        if ours is None or ours.origin != theirs.origin:
            sys.modules.pop(name, None)


def _program_folder() -> Path | None:
    """What Python will put first on the path of the program: `sys.path[0]` is not there yet."""
    if getattr(sys.flags, "safe_path", False):
        return None
    arguments = program.arguments()
    if not arguments or arguments[0] in {"-", "-c", "-m"}:
        return Path.cwd()
    script = Path(arguments[0]).resolve()
    return script if script.is_dir() else script.parent
