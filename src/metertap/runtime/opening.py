"""When endpoints open: at once, or with the first measured call or lookup.

A scraper of a known port expects an answer from the start: an idle server is not down, and a broken
instrumentation has a diagnosis to show. But of several processes that are started with the same
port, those that measure nothing must leave it to the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from metertap import state
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import stand_in
from metertap.runtime.callers import Caller
from metertap.settings import program

_SUPERVISORS = {
    "uvicorn.supervisors.basereload": "BaseReload.run",
    "uvicorn.supervisors.multiprocess": "Multiprocess.run",
    "gunicorn.arbiter": "Arbiter.run",
    "hypercorn.run": "_populate",
    "granian.server.mp": "MPServer._spawn_worker",
    "django.utils.autoreload": "restart_with_reloader",
    "werkzeug._reloader": "ReloaderLoop.restart_with_reloader",
    "watchfiles.run": "start_process",
}
"""Functions by which a process begins to start and restart others that do the work."""


def opens_at_once(*, is_known: bool, explicit: bool, caller: Caller) -> bool:
    """Return whether an endpoint is to listen before the first measurement.

    It is if the program itself called `instrument()`, or the operator set the port. Children of
    multiprocessing wait, since all of them have the same port. A port that the system chooses
    waits, too (`is_known` is False): nobody can know it before it is listed.
    """
    if not is_known or _is_child() or caller.is_command:
        return False
    return not caller.is_ours or (explicit and not state.settings().run_children)


def _is_child() -> bool:
    if program.is_started_by_multiprocessing():
        return True
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    # A child that imports the program's main module does not know its parent yet.
    is_importing = getattr(process.current_process(), "_inheriting", False)
    return is_importing or process.parent_process() is not None


class SupervisorWatch(PatchSet):
    """Calls `supervises` when this process begins to supervise others by one kind of function."""

    def __init__(self, module: str, function: str, supervises: Callable[[], None]) -> None:
        def begins(*_args: Any, **_kwargs: Any) -> None:
            supervises()

        super().__init__(module, [stand_in(function, around("supervisor", begins), optional=True)])


def supervisor_watches(supervises: Callable[[], None]) -> list[SupervisorWatch]:
    """Return the watches for all known supervisors."""
    return [SupervisorWatch(*target, supervises) for target in _SUPERVISORS.items()]
