"""Imports of metertap's own, within a program that has its own imports to do."""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False  # imported at the start of every program
if TYPE_CHECKING:
    from types import TracebackType


class Importing:
    """A block of imports.

    The garbage collector is off in it, unless it is off already: it would find no garbage and take
    as long again.

    If an import fails, for instance where no descriptors are left, Python forgets the package and
    keeps its submodules. Another import of the package, by the program, would then miss their names
    in it, so they are forgotten as well.
    """

    __slots__ = ("_before", "_was_enabled")

    def __enter__(self) -> None:
        self._before = set(sys.modules)
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._was_enabled:
            gc.enable()
        if error is not None:
            for name in sorted(sys.modules.keys() - self._before):
                package = name.rpartition(".")[0]
                if package and package not in sys.modules:
                    sys.modules.pop(name, None)
