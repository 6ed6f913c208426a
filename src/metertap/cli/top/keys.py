"""Decoding of a terminal's input into names of keys; their bytes may arrive in parts."""

from __future__ import annotations

import codecs
import re

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~])")
_BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_NAMES = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "Z": "back tab",
    "1~": "home",
    "4~": "end",
    "5~": "page up",
    "6~": "page down",
    "7~": "home",
    "8~": "end",
}
_CONTROLS = {
    "\t": "tab",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x15": "clear line",
    "\x06": "page down",
    "\x02": "page up",
    "\x0c": "redraw",
}


class Keys:
    """A decoder of bytes into names of keys; a printable character is its own name."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._left = ""

    @property
    def is_waiting(self) -> bool:
        """Whether an escape sequence is incomplete; call `flush` if the rest does not arrive."""
        return bool(self._left)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that these bytes complete, without unknown ones."""
        text = self._left + self._decoder.decode(data)
        self._left = ""
        found: list[str] = []
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                found.append(_CONTROLS.get(text[at], text[at]))
                at += 1
            elif sequence := _SEQUENCE.match(text, at):
                found.append(_NAMES.get(sequence.group()[2:], ""))
                at = sequence.end()
            elif _BEGUN.match(text, at):
                self._left = text[at:]
                break
            else:
                found.append("escape")
                at += 1
        return [key for key in found if len(key) > 1 or (key.isprintable() and key)]

    def flush(self) -> list[str]:
        """Return the escape key if only its byte has arrived, and forget an incomplete sequence."""
        left, self._left = self._left, ""
        return ["escape"] if left == "\x1b" else []
