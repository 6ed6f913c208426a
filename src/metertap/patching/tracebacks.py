"""Tracebacks of the program without frames of metertap."""

from __future__ import annotations

from metertap.faults import traceback_of


def hide_frame(error: BaseException) -> None:
    """Take the frame of the wrapper that caught `error` out of its traceback.

    Followed by a bare `raise` there, the program's tracebacks are what they would be without us
    (on Python 3.10 the frame stays).
    """
    traceback = traceback_of(error)
    if traceback is not None:
        # Not an assignment: classes of exceptions may forbid those (frozen dataclasses do).
        BaseException.with_traceback(error, traceback.tb_next)
