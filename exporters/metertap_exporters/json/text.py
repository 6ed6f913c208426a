"""The JSON document as text; parts whose figures have not changed are not written again.

The live page asks for it every second. Of many tools few have been called since, so the text of
each entry is kept for as long as its figures are the same object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from metertap import faults
from metertap_exporters.json.document import ENTRIES
from metertap_exporters.pause import pause

_ENTRIES = 20
"""Entries that are written before others may run: about a third of a millisecond."""


class DocumentText:
    """A writer that keeps the text of the last document's entries.

    Threads may share it: what is kept is replaced as a whole.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str | int], tuple[object, str]] = {}

    def forget(self) -> None:
        """Keep nothing."""
        self._kept = {}

    def of(self, outline: Mapping[str, Any]) -> bytes:
        """Write the document of this outline, as UTF-8 without spaces."""
        before, now, made = self._kept, {}, 0
        members = []
        for key, value in outline.items():
            entry = ENTRIES.get(key)
            if entry is None:
                text = faults.kept("document.text", partial(dumped, value), "null")
                members.append(f"{dumped(key)}:{text}")
                continue
            named = isinstance(value, Mapping)
            texts = []
            for name, figures in value.items() if named else enumerate(value):
                kept = before.get((key, name))
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
                now[key, name] = kept
                texts.append(kept[1])
            entries = ",".join(texts)
            members.append(f"{dumped(key)}:" + (f"{{{entries}}}" if named else f"[{entries}]"))
        self._kept = now
        return f"{{{','.join(members)}}}".encode()


_encoder = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"))


def dumped(value: Any) -> str:
    """Write a value as JSON; NaN and infinity raise, since no parser reads them."""
    return _encoder.encode(value)
