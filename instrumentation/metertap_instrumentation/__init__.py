"""Instrumentations: one module for each library of `libraries.LIBRARIES`, and for own lines.

PYTEST_DONT_REWRITE: pytest would warn where `metertap run` has imported this before it.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from metertap import faults, parsing, state
from metertap.patching import imports
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Library
from metertap_instrumentation.process import NAME as PROCESS_METRICS


@functools.cache
def _load(module: str) -> Instrumentation | None:
    try:
        found: Instrumentation = importlib.import_module(f"{__name__}.{module}").INSTRUMENTATION
    except Exception as fault:  # a broken one is left out
        faults.fault(f"instrumentation {module}", fault)
        return None
    return found


def libraries() -> list[Instrumentation]:
    """List every library's instrumentation."""
    return [found for found in map(_load, LIBRARIES) if found is not None]


_CONFIGURED = ("tools.configured", "caches.configured")
"""Modules for the program's own handlers and caches, by lines of the configuration file."""
_MOST_TOLD = 20
_has_lines = False
_installed: list[Instrumentation] = []
_waiting: dict[str, Callable[[], None]] = {}
"""The installers of instrumentations whose library is not imported yet, by module."""
_put_off: dict[str, Callable[[], None]] = {}
"""Functions to call before the instrumentations that are installed late, by module."""


def put_off(module: str, end: Callable[[], None]) -> None:
    """Install an instrumentation by `begin_rest` at the latest; `end` is called just before."""
    _put_off[module] = end


def begin_rest() -> None:
    """Install the instrumentations that were put off."""
    for begin in [_waiting[module] for module in list(_put_off) if module in _waiting]:
        with faults.guarded("instrumentation put off"):
            begin()


state.on_fork(before=begin_rest)  # lookups before a fork are not the child's


def known() -> tuple[Instrumentation, ...]:
    """Return every library's instrumentation, and those for configured lines, if there are any.

    Instrumentations that wait for their library are loaded, to know the library's version.
    """
    for begin in list(_waiting.values()):
        begin()
    return (*libraries(), *_lines())


def _configured() -> list[Any]:
    return [found for found in map(_load, _CONFIGURED) if found is not None]


def _lines() -> list[Instrumentation]:
    return [item for item in _configured() if item.patch_sets] if _has_lines else []


def install(
    is_disabled: Callable[[str], bool] = lambda _name: False,
    caches: Mapping[str, Any] | None = None,
    tools: Mapping[str, Any] | None = None,
) -> None:
    """Install every instrumentation whose name is not disabled.

    `caches` and `tools` are the lines of `[tool.metertap.caches]` and `[tool.metertap.tools]`.
    """
    global _has_lines
    if tools or caches or _has_lines:  # without lines, their modules are not imported
        _has_lines = True
        for module, lines in zip(_CONFIGURED, (tools, caches), strict=True):
            with faults.guarded("instrumentation configured"):
                configured: Any = _load(module)
                configured.configure(lines or {})
    for instrumentation in _lines():
        _install(instrumentation, is_disabled)
    for library in LIBRARIES.values():
        _install_library(library, is_disabled)
    state.recorder().on_look(check)


def _install_library(library: Library, is_disabled: Callable[[str], bool]) -> None:
    """Install a library's instrumentation: at once if that is imported, else just before it is."""

    def begin() -> None:
        _stop_waiting(library.module)
        end = _put_off.pop(library.module, None)
        if end is not None:
            end()
        instrumentation = _load(library.module)
        if instrumentation is not None:
            instrumentation.is_late = end is not None
            _install(instrumentation, is_disabled)

    if library.package not in sys.modules:
        _waiting[library.module] = begin
        imports.before(library.package, begin)
    elif library.module in _put_off:
        _waiting[library.module] = begin
    else:
        begin()


def _install(instrumentation: Instrumentation, is_disabled: Callable[[str], bool]) -> None:
    if is_disabled(instrumentation.name):
        instrumentation.switched_off = True
        return
    if instrumentation not in _installed:
        _installed.append(instrumentation)
    with faults.guarded(f"instrumentation {instrumentation.name}"):
        instrumentation.install()


def _stop_waiting(module: str) -> None:
    begin = _waiting.pop(module, None)
    if begin is not None:
        imports.forget(begin)


def check() -> None:
    """Patch again what other code has unpatched, before figures are read."""
    for instrumentation in list(_installed):
        for patch_set in instrumentation.patch_sets:
            with faults.guarded(f"instrumentation {instrumentation.name}"):
                patch_set.check()


def check_names(disabled: frozenset[str]) -> None:
    """Warn of names in `disabled` that no instrumentation has; of many, only of some."""
    if disabled <= {"*", PROCESS_METRICS}:
        return
    names = {"*", PROCESS_METRICS, *(item.name for item in (*_configured(), *libraries()))}
    for name in sorted(disabled - names)[:_MOST_TOLD]:
        faults.warn_once(
            f"disabled {name}",
            "there is no instrumentation %s to disable%s",
            faults.shown(name),
            parsing.did_you_mean(parsing.nearest(name, names)),
        )


def uninstall() -> None:
    """Undo every instrumentation."""
    while _put_off:
        _put_off.popitem()[1]()
    for module in list(_waiting):
        _stop_waiting(module)
    while _installed:
        instrumentation = _installed.pop()
        with faults.guarded(f"instrumentation {instrumentation.name}"):
            instrumentation.uninstall()
