"""Instrumentors: one module per library, and this table of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from metertap import guard
from metertap_instrumentation.caches import configured as configured_caches
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.lines import Configured
from metertap_instrumentation.tools import configured as configured_tools

_MODULES = (
    "tools.claude_agent_sdk",
    "tools.langchain",
    "tools.langgraph",
    "tools.mcp",
    "tools.openai_agents",
    "tools.pydantic_ai",
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
    "sessions.websockets",
)


def _found() -> Iterator[Instrumentation]:
    for module in _MODULES:
        with guard.guarded(f"instrumentation {module}"):  # one that is broken is one that is absent
            yield importlib.import_module(f"{__name__}.{module}").INSTRUMENTATION


ALL: tuple[Instrumentation, ...] = tuple(_found())

CONFIGURED: tuple[Configured[Any], ...] = (
    configured_tools.INSTRUMENTATION,
    configured_caches.INSTRUMENTATION,
)
"""Of no library: the program's own handlers and caches, by lines of the configuration file."""


def known() -> tuple[Instrumentation, ...]:
    """Every library's instrumentation, and those of own handlers and caches if there are lines."""
    return (*ALL, *(item for item in CONFIGURED if item.patch_sets))


def install(
    disabled: frozenset[str] = frozenset(),
    caches: Mapping[str, Any] | None = None,
    tools: Mapping[str, Any] | None = None,
) -> None:
    """Install every instrumentation that is not named in `disabled` (`*` names all).

    `caches` and `tools` are the lines of `[tool.metertap.caches]` and `[tool.metertap.tools]`.
    """
    for configured, lines in zip(CONFIGURED, (tools, caches), strict=True):
        with guard.guarded("instrumentation configured"):
            configured.configure(lines or {})
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
