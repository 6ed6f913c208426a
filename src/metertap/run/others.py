"""A hint at the end of a program that called no tool itself, but started other programs.

`metertap run` measures one program. The tools may be in those that it starts: a notebook's kernel,
the processes of a pool, a server behind a proxy. This module imports only what Python itself has
imported, since most programs get no hint.
"""

from __future__ import annotations

import os
import sys

_LEAST_CPU_SECONDS = 0.05
"""The least CPU seconds of other programs for a hint: any Python with imports takes more."""
_HINT = (
    "metertap: this program called no tool itself; metertap run --children measures the Python "
    "programs that it starts, too (METERTAP_ANNOUNCE=false hides this line)\n"
)
_is_measured = False
"""Whether child processes are measured anyway."""


def measured() -> None:
    """Note that child processes are measured anyway."""
    global _is_measured
    _is_measured = True


def watch() -> None:
    """Give the hint at the end of this process, if there is reason to."""
    import atexit

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_parent=measured)
    atexit.register(_tell, os.getpid())


def _tell(pid: int) -> None:
    try:
        used = os.times()
        others = used.children_user + used.children_system
        # A forked child inherits this handler, and is measured.
        if os.getpid() == pid and not _is_measured and others >= _LEAST_CPU_SECONDS and _is_due():
            sys.stderr.write(_HINT)
            sys.stderr.flush()
    except Exception:  # noqa: S110  # stderr may be None, or a closed pipe
        pass


def _is_due() -> bool:
    """Return whether this process had no tool, and lines on stderr are not switched off."""
    state = sys.modules.get("metertap.state")
    if state is not None and state.settings().enabled:
        figures = state.recorder().figures(caches=False)
        return state.settings().announce and not (figures.tools or figures.operations)
    from metertap.parsing import boolean

    return state is None and boolean(os.environ.get("METERTAP_ANNOUNCE", "true"))
