"""A block of code that is measured as one call of a tool: what `measure_tool` returns."""

from __future__ import annotations

from types import TracebackType

from metertap import faults
from metertap.measuring import calls
from metertap.measuring.calls import OWNER, PARENT, SERIES, Frame
from metertap.measuring.slots import Slot
from metertap.outcomes import Ending


class MeasuredBlock:
    """Context manager that counts its block as one call. Raises no fault of metertap's.

    Several threads may be inside one object, and a thread may enter it again.
    """

    __slots__ = ("_frames", "_slot")

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._frames: list[Frame] = []

    def __enter__(self) -> None:
        frame = self._slot.enter()
        if frame is not None:
            try:
                self._frames.append(frame)
            except BaseException:
                calls.give_up(frame)
                raise

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        frame = None
        try:
            frame = self._innermost()
            if frame is not None:
                calls.leave(frame, None if error is None else Ending.by(error))
        except BaseException as fault:
            with faults.guarded("measure"):
                frame = frame or self._innermost()
            calls.broken(frame, fault)

    def _innermost(self) -> Frame | None:
        """Remove and return the frame of the call that ends: the innermost of this block here."""
        frame = calls.current.get()
        while frame is not None:
            if frame[OWNER] is self._slot and frame[SERIES] is not None:
                break
            frame = frame[PARENT]
        else:  # it was entered in another context
            return self._frames.pop() if self._frames else None
        for index, own in enumerate(self._frames):  # by identity: frames may be equal
            if own is frame:
                del self._frames[index]
                break
        return frame
