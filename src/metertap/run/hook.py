"""The part of `metertap run` that runs inside the program, before its first line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path

from metertap import faults, state
from metertap.run import others, program_path
from metertap.run.environment import add_hook
from metertap.runtime.callers import caller_of
from metertap.runtime.opening import supervisor_watches
from metertap.runtime.tap import hold
from metertap.settings import program
from metertap_instrumentation import put_off


def measure(
    environ: Mapping[str, str],
    folder: str,
    modules_before: Iterable[str] | None = None,
    caches_put_off: Callable[[], None] | None = None,
) -> None:
    """Measure the program by the settings in `environ`; `folder` is its first working directory.

    `modules_before` were imported before metertap, if the program has not begun yet.
    `caches_put_off` is called when caches of `functools` begin to be measured, to end the waiting
    for the first of them. Without it, they are measured at once.
    """
    program.start_folder = folder
    if caches_put_off is not None:
        put_off("caches.functools_lru", caches_put_off)
    with faults.guarded("run"):
        tap = hold(caller_of(sys._getframe()), {}, environ)
        if modules_before is not None and tap.is_active:
            tap.pipeline  # noqa: B018  # imported now, before the program's modules can be found
    with faults.guarded("run"):
        if not state.settings().run_children:  # child processes are measured anyway
            for watch in supervisor_watches(_follow):
                watch.install()
    with faults.guarded("run"):
        if modules_before is not None:
            _give_way(set(sys.modules).difference(modules_before))


def _follow() -> None:
    """Measure processes that a reloader or a master of workers starts: they are the program.

    Processes that these start are not measured: the hook removes itself from their environment.
    """
    others.measured()
    if "gunicorn.arbiter" not in sys.modules:  # its workers are forked, and measured anyway
        add_hook(os.environ)


def _give_way(modules: Iterable[str]) -> None:
    """Forget those of `modules` that the program's own folders have under the same name.

    A program may have its own `statistics.py` and import that one. metertap has imported the
    standard library's before, and keeps it.
    """
    folder = _program_folder()
    folders = program_path.folders(program.arguments(), program.start_folder)
    if folder is not None:
        folders.append(str(folder))
    for name in modules:
        top = name.partition(".")[0]
        theirs = PathFinder.find_spec(top, folders)
        if theirs is None or theirs.loader is None or top in sys.builtin_module_names:
            continue
        ours = getattr(sys.modules.get(top), "__spec__", None)
        if ours is None or ours.origin != theirs.origin:
            sys.modules.pop(name, None)


def _program_folder() -> Path | None:
    """Return the folder that Python will put first on the path, before it is in `sys.path`."""
    if getattr(sys.flags, "safe_path", False):
        return None
    arguments = program.arguments()
    if not arguments or arguments[0] in {"-", "-c", "-m"}:
        return Path(program.start_folder)
    script = Path(arguments[0]).resolve()
    return script if script.is_dir() else script.parent
