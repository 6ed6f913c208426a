"""The JSON document as text; parts whose figures have not changed are not written again.

The live page asks for it every second. Most tools have not been called since, so the text of each
entry is kept while its figures are the same object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from metertap import faults
from metertap.pacing import paced, pause
from metertap_exporters.json.document import ENTRIES

_MANY = 100
"""The number of entries that take a noticeable time to join."""
_ENTRIES = 20
"""Entries to write before other threads may run: a third of a millisecond."""


class DocumentText:
    """A writer that keeps the texts of the last document's entries.

    Several threads may share it: the kept texts are replaced as a whole.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Section] = {}

    def forget(self) -> None:
        """Discard the kept texts, so that every entry is written again."""
        self._kept = {}

    def of(self, outline: Mapping[str, Any]) -> bytes:
        """Write the document of this outline, as UTF-8 without spaces."""
        before, now = self._kept, {}
        members = []
        for key, value in outline.items():
            if key in ENTRIES:
                kept = before.get(key, _NO_SECTION)
                if kept.of is not value:
                    kept = _section(key, value, kept.entries)
                now[key] = kept
                text = kept.text
            else:
                text = faults.kept("document.text", partial(dumped, value), "null")
            members.append(f"{dumped(key)}:{text}")
        self._kept = now
        return f"{{{','.join(members)}}}".encode()


class _Section(NamedTuple):
    """The text of one section, and of its entries by name or index."""

    of: object
    """The section of this text, which never changes; None if it may have to be written again."""
    text: str
    entries: Mapping[str | int, tuple[object, str]]


_NO_SECTION = _Section(None, "", {})


def _section(key: str, value: Any, before: Mapping[str | int, tuple[object, str]]) -> _Section:
    """Return a section's text; entries that are the same objects as before are not written."""
    entry, named, made = ENTRIES[key], isinstance(value, Mapping), 0
    now: dict[str | int, tuple[object, str]] = {}
    for name, figures in paced(value.items() if named else enumerate(value)):
        kept = before.get(name)
        if kept is None or kept[0] is not figures:
            try:
                text = dumped(entry(figures))
            except Exception as error:  # costs this entry
                faults.fault(f"document.{key}", error)
                continue
            made += 1
            if made % _ENTRIES == 0:
                pause()
            kept = (figures, f"{dumped(name)}:{text}" if named else text)
        now[name] = kept
    if len(now) > _MANY:
        pause()
    entries = ",".join([text for _, text in now.values()])
    text = f"{{{entries}}}" if named else f"[{entries}]"
    return _Section(value if len(now) == len(value) else None, text, now)


_encoder = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"))


def dumped(value: Any) -> str:
    """Return a value as JSON; NaN and infinity raise, since parsers refuse them."""
    return _encoder.encode(value)
