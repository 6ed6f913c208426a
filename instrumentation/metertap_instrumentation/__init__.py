"""Instrumentors: one module per library, and this table of them."""

from __future__ import annotations

from metertap import guard
from metertap_instrumentation.caches import cachetools
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.tools import mcp

ALL: tuple[Instrumentation, ...] = (mcp.INSTRUMENTATION, cachetools.INSTRUMENTATION)


def install(disabled: frozenset[str] = frozenset()) -> None:
    """Install every instrumentation that is not named in `disabled` (`*` names all)."""
    for instrumentation in ALL:
        if instrumentation.name in disabled or "*" in disabled:
            instrumentation.switched_off = True
            continue
        with guard.guarded(f"instrumentation {instrumentation.name}"):
            instrumentation.install()


def uninstall() -> None:
    """Undo every instrumentation."""
    for instrumentation in ALL:
        with guard.guarded(f"instrumentation {instrumentation.name}"):
            instrumentation.uninstall()
