"""Removal of metertap's frames from tracebacks of the program."""

from __future__ import annotations

from metertap.faults import traceback_of


def hide_frame(error: BaseException) -> None:
    """Remove the frame of the wrapper that caught `error` from its traceback.

    With a bare `raise` after it, the program's tracebacks are those of the unmeasured program (on
    Python 3.10 the frame stays).
    """
    traceback = traceback_of(error)
    if traceback is not None:
        # Not an assignment, which classes of exceptions may forbid (frozen dataclasses do).
        BaseException.with_traceback(error, traceback.tb_next)
