"""The callers of `instrument()`: the application itself, or a library that it uses."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from metertap import faults
from metertap.settings import program

_COMMANDS = ("metertap.cli.", "metertap.testing.")
_OURS = "metertap."
"""Modules of metertap act for the operator: `metertap run`, OpenTelemetry's loader."""


class Caller(NamedTuple):
    """A calling module, and the place of the call in it."""

    module: str
    place: tuple[str, int]
    file: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether the call comes from metertap, and so from the operator."""
        return is_ours(self.module)

    @property
    def is_command(self) -> bool:
        """Whether a command of metertap calls, to look at its own process."""
        return self.module.startswith(_COMMANDS)

    @property
    def is_application(self) -> bool:
        """Whether the module belongs to the program itself.

        These are `__main__`, modules that are not installed among packages, and those beside the
        module or script that is run.
        """
        if self.is_ours:
            return False
        if self.module in {"__main__", "__mp_main__"} or self.file is None:
            return True
        file = Path(self.file).absolute()
        if not program.is_installed(file):
            return True
        with faults.guarded("caller"):
            return any(file.is_relative_to(folder) for folder in program.folders())
        return False

    @property
    def owner(self) -> str:
        """The owner of the calling code: empty for the application, all of its modules together.

        A library's owner is its package, or its own part of a namespace package.
        """
        if self.is_application:
            return ""
        parts = self.module.split(".")
        names = [] if self.is_ours else [".".join(parts[:end]) for end in range(1, len(parts))]
        found = (name for name in names if getattr(sys.modules.get(name), "__file__", None))
        return next(found, self.module)


def is_ours(module: str) -> bool:
    """Return whether a module is metertap's, which acts for the operator."""
    return module.startswith(_OURS)


def caller_of(frame: FrameType) -> Caller:
    """Return the caller whose code runs in `frame`."""
    found = frame.f_globals
    file = found.get("__file__")
    # Lines typed at a prompt, and cells of a notebook, are one place: each has a file of its own.
    is_typed = file is None or frame.f_code.co_filename.startswith("<")
    return Caller(
        module=str(found.get("__name__", "__main__")),
        place=("", 0) if is_typed else (frame.f_code.co_filename, frame.f_lineno),
        file=file if isinstance(file, str) else None,
    )
