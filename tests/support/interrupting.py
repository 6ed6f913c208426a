"""Interrupts (Ctrl-C, a handler that raises) at every place where Python looks for signals.

That is where a function of Python's has begun, and where one that is written in C has returned.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

_NOT_THERE = ("weakref.py", "_weakrefset.py", __file__)
"""Finalisers' files, which may come anywhere and from which no exception passes; and this one."""
_TOOL = 4


class _Places:
    """Counts the places that a program comes to, and interrupts it at one of them."""

    def __init__(self, number: int, are_there: Callable[[str], bool]) -> None:
        self._left = number
        self._are_there = are_there
        self._traced = sys.gettrace()
        self._thread = threading.get_ident()

    def watch(self) -> None:
        """Begin."""
        gc.disable()  # finalisers as well
        if sys.version_info >= (3, 12):  # whose tracing begins somewhere later in a function
            events = sys.monitoring.events
            sys.monitoring.use_tool_id(_TOOL, "interrupts")
            for event in (events.PY_START, events.PY_RESUME):
                sys.monitoring.register_callback(_TOOL, event, lambda code, *_: self._at(code))
            sys.monitoring.register_callback(
                _TOOL, events.C_RETURN, lambda code, *_: self._at(code)
            )
            sys.monitoring.set_events(_TOOL, events.PY_START | events.PY_RESUME | events.CALL)
        else:
            sys.settrace(self._started)
            sys.setprofile(self._returned)

    def leave(self) -> None:
        """End."""
        if sys.version_info >= (3, 12):
            sys.monitoring.set_events(_TOOL, 0)
            sys.monitoring.free_tool_id(_TOOL)
        else:
            sys.setprofile(None)
            sys.settrace(self._traced)
        gc.enable()

    def _at(self, code: Any) -> None:
        file = code.co_filename
        if file.endswith(_NOT_THERE) or threading.get_ident() != self._thread:
            return
        if not self._are_there(file):
            return
        self._left -= 1
        if self._left == -1:
            if sys.version_info < (3, 12):
                sys.settrace(self._traced)
                sys.setprofile(None)
            raise KeyboardInterrupt

    def _returned(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "c_return":
            self._at(frame.f_code)

    def _started(self, frame: FrameType, event: str, argument: object) -> Any:
        if self._traced is not None:  # who notes what tests call misses nothing
            self._traced(frame, event, argument)
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        is_new = True

        def instruction(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal is_new
            if event == "opcode" and is_new:
                is_new = False
                self._at(frame.f_code)
            return instruction

        return instruction


def in_any(_file: str) -> bool:
    """Take the places of every file."""
    return True


def interrupted(
    do: Callable[[], object], number: int, are_there: Callable[[str], bool] = in_any
) -> bool:
    """Interrupt `do` at the n-th place in files that `are_there`; False where it ends before."""
    places = _Places(number, are_there)
    places.watch()
    try:
        do()
    except KeyboardInterrupt:
        return True
    finally:
        places.leave()
    return False


def everywhere(
    prepare: Callable[[], tuple[Callable[[], object], Callable[[int], None]]],
    are_there: Callable[[str], bool] = in_any,
) -> int:
    """Prepare something to do, interrupt it and check what came of it, at each place in turn.

    The check is told the number of the place. Returns how many there are, in files that
    `are_there`.
    """
    kept = []  # or the ends of what was prepared would be interrupted
    for number in count():
        do, check = prepare()
        kept.append((do, check))
        was_interrupted = interrupted(do, number, are_there)
        check(number)
        if not was_interrupted:
            return number
    raise AssertionError
