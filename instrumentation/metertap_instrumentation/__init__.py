"""Instrumentors: one module per library, and this table of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from metertap import guard
from metertap_instrumentation.caches import configured
from metertap_instrumentation.instrumentation import Instrumentation

_MODULES = (
    "tools.mcp",
    "caches.aiocache",
    "caches.async_lru",
    "caches.cachetools",
    "caches.cashews",
    "caches.diskcache",
    "caches.django",
    "caches.fastmcp",
    "caches.functools_lru",
    "caches.gptcache",
    "caches.langchain",
    "caches.redis",
    "caches.redisvl",
)


def _found() -> Iterator[Instrumentation]:
    for module in _MODULES:
        with guard.guarded(f"instrumentation {module}"):  # one that is broken is one that is absent
            yield importlib.import_module(f"{__name__}.{module}").INSTRUMENTATION


ALL: tuple[Instrumentation, ...] = tuple(_found())

CONFIGURED = configured.INSTRUMENTATION
"""Of no library: the program's own caches, by lines of the configuration file."""


def known() -> tuple[Instrumentation, ...]:
    """Every library's instrumentation, and that of own caches where there are lines for any."""
    return (*ALL, CONFIGURED) if CONFIGURED.patch_sets else ALL


def install(
    disabled: frozenset[str] = frozenset(), caches: Mapping[str, Any] | None = None
) -> None:
    """Install every instrumentation that is not named in `disabled` (`*` names all).

    `caches` are the lines of `[tool.metertap.caches]`.
    """
    with guard.guarded("instrumentation configured"):
        CONFIGURED.configure(caches or {})
    for instrumentation in known():
        if instrumentation.name in disabled or "*" in disabled:
            instrumentation.switched_off = True
            continue
        with guard.guarded(f"instrumentation {instrumentation.name}"):
            instrumentation.install()


def uninstall() -> None:
    """Undo every instrumentation."""
    for instrumentation in known():
        with guard.guarded(f"instrumentation {instrumentation.name}"):
            instrumentation.uninstall()
