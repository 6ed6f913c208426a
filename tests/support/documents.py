"""Parts of the document that this process publishes."""

from __future__ import annotations

from typing import Any

import metertap


def tools() -> dict[str, Any]:
    """The figures of each tool, by name."""
    found: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"]
    return found
