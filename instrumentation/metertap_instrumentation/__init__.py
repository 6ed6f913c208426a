"""Instrumentors: one module per library, and this table of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metertap import guard
from metertap_instrumentation.caches import cachetools, configured
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.tools import mcp

ALL: tuple[Instrumentation, ...] = (mcp.INSTRUMENTATION, cachetools.INSTRUMENTATION)

CONFIGURED = configured.INSTRUMENTATION
"""Of no library: the program's own caches, by lines of the configuration file."""


def install(
    disabled: frozenset[str] = frozenset(), caches: Mapping[str, Any] | None = None
) -> None:
    """Install every instrumentation that is not named in `disabled` (`*` names all).

    `caches` are the lines of `[tool.metertap.caches]`.
    """
    with guard.guarded("instrumentation configured"):
        CONFIGURED.configure(caches or {})
    for instrumentation in (*ALL, CONFIGURED):
        if instrumentation.name in disabled or "*" in disabled:
            instrumentation.switched_off = True
            continue
        with guard.guarded(f"instrumentation {instrumentation.name}"):
            instrumentation.install()


def uninstall() -> None:
    """Undo every instrumentation."""
    for instrumentation in (*ALL, CONFIGURED):
        with guard.guarded(f"instrumentation {instrumentation.name}"):
            instrumentation.uninstall()
