"""Imports without garbage collection, which would find no garbage and take as long again."""

from __future__ import annotations

import gc

TYPE_CHECKING = False  # imported at the start of every program
if TYPE_CHECKING:
    from types import TracebackType


class Uncollected:
    """A block in which the garbage collector is off, unless it is off already."""

    __slots__ = ("_was_enabled",)

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._was_enabled:
            gc.enable()
