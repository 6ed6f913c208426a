"""The report of `metertap doctor`. It contains no keys, arguments or secrets."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metertap import catalogue, faults, state
from metertap._version import __version__
from metertap.otel import sdk
from metertap.patching.patch_set import PatchSet
from metertap.recording import CacheFigures
from metertap.runtime.pipeline import Pipeline
from metertap.settings.address import Address
from metertap.settings.config_file import is_in_full
from metertap.settings.secret import Secret
from metertap.settings.settings import Settings, config_file_named
from metertap.settings.table import TABLE
from metertap.text import NO_TOOL, ORDER, listed, without_secrets

if TYPE_CHECKING:
    from metertap.history.writer import HistoryWriter
    from metertap.runtime.alert_watch import AlertWatch
    from metertap_instrumentation.instrumentation import Instrumentation


def diagnose(
    settings: Settings,
    pipeline: Callable[[], Pipeline],
    watch: AlertWatch | None,
    history: HistoryWriter | None,
    notes: Sequence[str],
    *,
    active: bool,
) -> dict[str, Any]:
    """Collect settings and their origins, patches, the targets of records, and swallowed faults.

    A fault leaves out the part at which it happens.
    """
    parts: dict[str, tuple[Callable[[], Any], Any]] = {
        "service": (lambda: pipeline().service(), {}),
        "settings": (lambda: _settings(settings), {}),
        "refused_settings": (lambda: list(settings.refused), []),
        "instrumentations": (lambda: _instrumentations(settings.enabled), []),
        "caches": (_caches, []),
        "decorated_tools": (_decorated, []),
        "process_metrics": (lambda: pipeline().process_metrics.described(), None),
        "provider": (lambda: _provider(pipeline()), None),
        "recording_paths": (lambda: pipeline().recording_paths(), []),
        "readers": (lambda: _readers(pipeline()), []),
        "endpoints": (lambda: _endpoints(pipeline()), []),
        "otlp": (lambda: settings.otlp_protocol if settings.otlp else None, None),
        "otlp_problem": (lambda: pipeline().otlp_problem, None),
        "alerts": (lambda: None if watch is None else watch.described(), None),
        "history": (lambda: None if history is None else history.described(), None),
        "notes": (
            lambda: [
                *notes,
                *pipeline().stood_back(),
                *_unknown_names(settings),
                *_relative_file(),
                *_no_tool(),
                *_never_called(),
                *sdk.problems(),
            ],
            list(notes),
        ),
        "left_out_duplicates": (lambda: dict(state.recorder().duplicates), {}),
    }
    return {
        "version": __version__,
        "python": sys.version.split()[0],
        "active": active,
        "disabled_because": settings.disabled_because,
        **{
            name: faults.kept(f"diagnosis.{name}", make, otherwise)
            for name, (make, otherwise) in parts.items()
        },
        "faults": faults.fault_counts(),  # last, so that faults of the lines above are included
    }


def _settings(settings: Settings) -> dict[str, Any]:
    return {
        name: {
            "value": _plain(getattr(settings, name)),
            "variable": variable,
            "source": settings.sources.get(name, "default"),
        }
        for name, (variable, _) in TABLE.items()
    }


def _readers(pipeline: Pipeline) -> list[dict[str, str]]:
    return [
        {"reader": reader, "added_by": "metertap" if ours else "application"}
        for reader, ours in pipeline.readers()
    ]


def _endpoints(pipeline: Pipeline) -> list[dict[str, str | None]]:
    return [
        {"name": view.endpoint.label, "url": view.endpoint.url, "problem": view.endpoint.problem}
        for view in (pipeline.json, pipeline.prometheus)
        if view is not None
    ]


def _plain(value: object) -> object:
    if isinstance(value, Address | Secret | Path):
        return str(value)  # the part of addresses and tokens that is not secret
    if isinstance(value, str):
        return without_secrets(value)
    return sorted(value) if isinstance(value, frozenset) else value


def _provider(pipeline: Pipeline) -> str | None:
    if pipeline.provider is None:
        return None
    whose = "metertap's own" if pipeline.provider is pipeline.owned else "the application's"
    kind = type(pipeline.provider)
    return f"{whose} ({kind.__module__}.{kind.__qualname__})"


def _unknown_names(settings: Settings) -> list[str]:
    """Return warnings of lines that let any value of an argument become a tool's name."""
    return [
        f"{target}: values of an argument become names of tools, whatever they are; "
        "known = … says which names there are"
        for target, line in settings.tools.items()
        if isinstance(line, Mapping)
        and str(line.get("name", "")).startswith("arg:")
        and "known" not in line
    ]


def _relative_file() -> list[str]:
    """Return a warning of a configuration file whose path depends on the working directory."""
    named = config_file_named()
    if not named or is_in_full(named):
        return []
    return [
        "METERTAP_CONFIG is relative: it is another file in each working directory, and counts in "
        "full only for code that lies beside it; name the file in full"
    ]


def _no_tool() -> list[str]:
    """Return advice on what counts as a tool, if only caches are measured."""
    figures = state.recorder().figures()
    return [NO_TOOL] if figures.caches and not figures.tools and not figures.operations else []


def _decorated() -> list[dict[str, Any]]:
    """List the functions that are decorated as tools, and their calls in this process.

    Calls that a patch counts are included.
    """
    calls = Counter(state.recorder().duplicates)
    for tool in state.recorder().figures(caches=False).tools:
        calls[tool.name] += sum(tool.counts.values()) + tool.active
    return [
        {"name": name, "file": file, "line": line, "calls": calls[name]}
        for name, (file, line) in sorted(state.recorder().decorated.items())
    ]


def _never_called() -> list[str]:
    """Name decorated tools that were not called here, if something else was measured."""
    figures = state.recorder().figures()
    called = any(tool.active or any(tool.counts.values()) for tool in figures.tools)
    never = [
        f"{item['name']} ({item['file']}:{item['line']})"
        for item in _decorated()
        if not item["calls"]
    ]
    if not never or not (called or figures.caches or figures.operations):
        return []
    return [f"decorated as tools and not called in this process: {listed(never)}. {ORDER}"]


def _instrumentations(enabled: bool) -> list[dict[str, Any]]:
    import metertap_instrumentation

    metertap_instrumentation.check()
    is_there = functools.cache(_is_there)  # several patch sets wait for modules of one package
    return [
        {
            "name": item.name,
            "kind": item.library.module.partition(".")[0],
            "library": item.distribution,
            "version": item.version,
            "state": _state(item) if enabled else "off",
            "problem": item.problem,
            "unverified": list(item.unverified),
            "patches": [
                {
                    "module": patch_set.name,
                    "state": patch_set.status,
                    "bound": patch_set.bound,
                    "problem": patch_set.problem or _waits_in_vain(patch_set, is_there),
                }
                for patch_set in item.patch_sets
            ],
        }
        for item in metertap_instrumentation.known()
    ]


def _waits_in_vain(patch_set: PatchSet, is_there: Callable[[str], bool]) -> str | None:
    """Return the problem of a patch set that waits for a module that does not exist."""
    package = patch_set.module.partition(".")[0]
    if patch_set.status == "waiting" and not is_there(package):
        return f"{patch_set.name}: there is no module {package}"
    return None


def _is_there(package: str) -> bool:
    with faults.guarded("diagnosis"), contextlib.suppress(ValueError):  # no spec
        return util.find_spec(package) is not None
    return True


def _caches() -> list[dict[str, Any]]:
    """List all caches, how each is counted, and which figures it lacks."""
    return [
        {
            "name": cache.name,
            "system": cache.system,
            "how": _how_it_is_counted(cache),
            "objects": cache.objects,
            "unsupported": [
                name
                for name, value in (
                    ("evictions", cache.evictions),
                    ("size_rejections", cache.rejections),
                    ("entries", cache.entries),
                    ("by_tool", cache.by_tool),
                )
                if value is None
            ],
        }
        for cache in state.recorder().cache_figures()
    ]


def _how_it_is_counted(cache: CacheFigures) -> str:
    if cache.system == catalogue.MANUAL:
        return "by hand"
    return "read" if cache.is_read else "patched"


def _state(item: Instrumentation) -> str:
    if item.switched_off:
        return "switched off"
    if item.version is None:
        return "not installed"
    return "unsupported version" if item.problem else "on"
