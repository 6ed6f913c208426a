"""The JSON document as text, for whoever asks again and again: idle tools cost little.

The live page asks every second. Of many tools few have been called since, so the text of each is
kept, and made anew where the recorder's figures are others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from metertap.recording import Figures, ToolFigures
from metertap_exporters.json.document import ForeignTool, document, tool_entry

_PLACE = '"tool_metrics":null'
"""Found nowhere before: inside a string its quotes would be escaped."""


class DocumentText:
    """Makes the text of one recorder's documents, and keeps that of its tools.

    Threads may share it: what is kept is replaced as a whole.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[ToolFigures, str]] = {}

    def forget(self) -> None:
        """Keep nothing."""
        self._kept = {}

    def of(
        self,
        figures: Figures,
        *,
        enabled: bool,
        service: Mapping[str, str],
        foreign: Iterable[ForeignTool],
        alerts: list[dict[str, Any]] | None = None,
    ) -> bytes:
        """The text of `document` with these arguments, but for spaces."""
        kept = self._kept
        now: dict[str, tuple[ToolFigures, str]] = {}

        def entry(name: str, tool: ToolFigures) -> str:
            before = kept.get(name)
            if before is None or before[0] is not tool:
                before = (tool, f"{dumped(name)}:{dumped(tool_entry(tool))}")
            now[name] = before
            return before[1]

        whole = document(
            figures,
            enabled=enabled,
            service=service,
            foreign=foreign,
            alerts=alerts,
            entry=entry,
        )
        tools = ",".join(
            text if isinstance(text, str) else f"{dumped(name)}:{dumped(text)}"
            for name, text in whole["tool_metrics"].items()
        )
        self._kept = now
        rest = dumped({**whole, "tool_metrics": None})
        return rest.replace(_PLACE, f'"tool_metrics":{{{tools}}}', 1).encode()


def dumped(value: Any) -> str:
    """As JSON; NaN and infinity are errors, not text that no parser reads."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
