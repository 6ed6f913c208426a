"""Secrets: texts that are compared and sent, but never shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from metertap import regular

MOST_CHARACTERS = 4096
"""The longest secret, and the most that is read of a file."""
_SHORT = 16
_OTHERS_MAY = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP


class Secret:
    """A text that is never shown: as text it is `(not shown)`."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return "(not shown)"

    __repr__ = __str__

    @property
    def is_short(self) -> bool:
        """Whether it is short enough to be guessed by trying."""
        return len(self.value) < _SHORT


def parse(value: object) -> Secret:
    """Parse a token as it stands in a header. Error messages contain no part of it."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("a text is needed")
    text = value.strip()
    if not 0 < len(text) <= MOST_CHARACTERS:
        raise ValueError(f"1 to {MOST_CHARACTERS} characters are needed")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("printable ASCII characters without spaces are needed")
    return Secret(text)


def read(path: Path) -> Secret:
    """Read the secret in a file: its text without white space around it.

    Raises OSError if the file cannot be read, and ValueError if it contains no secret.
    """
    with regular.opened(path) as file:
        text = file.read(MOST_CHARACTERS + 1)
    try:
        return parse(text.decode("ascii"))
    except UnicodeDecodeError:
        raise ValueError("printable ASCII characters are needed") from None


def exposure(path: Path) -> str | None:
    """Return who else may read or replace the file; None if only its user's group may read it."""
    found = path.stat()
    if os.name == "nt":
        return None
    if found.st_uid not in {0, os.getuid()}:
        return "belongs to another user"
    if stat.S_IMODE(found.st_mode) & _OTHERS_MAY:
        return f"may be used by others (mode {stat.S_IMODE(found.st_mode):04o}; 0600 is safe)"
    return None
