"""Measuring without importing OpenTelemetry, until the first measurement.

Importing OpenTelemetry's SDK takes longer than most programs take to start, and a program that
never calls a tool has no use for it. So a process that nobody can look at yet (no endpoint is to
listen, nothing is pushed) begins asleep: durations are kept in a journal, and the pipeline begins
with them when it is made.

Metertap's own threads never import: a child that is forked meanwhile could never import the same
modules, and an import of the program at that time could fail. In an event loop the import is
delayed for a moment, so that the first answer, such as MCP's to `initialize`, need not wait for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import util

from metertap import faults, state
from metertap.otel.replay import UNTIL_AWAKE, Journal
from metertap.patching import imports
from metertap.runtime.callers import Caller
from metertap.runtime.opening import opens_at_once
from metertap.settings.settings import Settings
from metertap.unmocked import unmocked

_SDK = ("opentelemetry.sdk.metrics", "opentelemetry.sdk.trace")
"""Modules of programs that use the SDK themselves: they set a provider, or start spans."""
_USES_OF_THE_SDK = (
    "metertap.otel.bulk_check",
    "metertap.otel.histograms",
    "metertap.otel.sdk",
    "metertap_exporters.exposition.otel",
    "metertap_exporters.json.reader",
    "metertap_exporters.on_demand",
    "metertap_exporters.otlp",
    "metertap_exporters.otlp_delivery",
    "metertap_exporters.otlp_encoding",
    "metertap_exporters.prometheus",
)
"""Metertap's modules that import it. A pipeline made meanwhile would find them half imported."""
_WEB_SERVERS = (
    "daphne.server",
    "granian.server",
    "gunicorn.arbiter",
    "hypercorn.run",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.http.httptools_impl",
    "waitress.server",
    "werkzeug.serving",
)
"""Modules that a program imports when it begins to serve: it may be scraped before its first call.

The package uvicorn itself is no sign: libraries that serve nothing import it, such as mcp.
"""
_LOOP_SECONDS = 0.1
"""How long, in seconds, the event loop may answer the first measured request before the import."""
_MOST_KEPT = 10_000
"""The most durations that are kept before the pipeline is made."""


def may_sleep(settings: Settings, caller: Caller) -> bool:
    """Return whether nobody can look at this process, or gets data from it, before it records."""
    if settings.otlp or settings.has_alerts or not sys.modules.keys().isdisjoint(_SDK):
        return False
    if not _can_be_imported(_SDK[0]):
        return False
    return not (
        (settings.json_endpoint and _opens_at_once("json", settings, caller))
        or (settings.prometheus and _opens_at_once("prometheus", settings, caller))
    )


def _opens_at_once(label: str, settings: Settings, caller: Caller) -> bool:
    is_socket = getattr(settings, f"{label}_socket") is not None
    return opens_at_once(
        is_known=is_socket or getattr(settings, f"{label}_port") != 0,
        explicit=is_socket or settings.is_explicit(f"{label}_port"),
        caller=caller,
    )


def _can_be_imported(module: str) -> bool:
    """Return whether the module exists, without importing it: no later import should fail."""
    try:
        return util.find_spec(module) is not None
    except Exception:  # raised by any import hook of the environment
        return False


class Asleep:
    """The stand-in for the pipeline, from `start` to `end`. It calls `wake` when it must end.

    `journal` has durations that were kept before.
    """

    def __init__(self, wake: Callable[[], None], journal: Journal | None = None) -> None:
        self._wake = wake
        self._recorder = state.recorder()
        self._due: float | None = None
        self.journal = journal or Journal(UNTIL_AWAKE)

    def start(self) -> None:
        """Keep what is recorded, and wake when the pipeline is needed."""
        self._recorder.instruments = (self.journal,)
        for module in _SDK:
            imports.watch(module, self._sdk_imported)
        for module in _WEB_SERVERS:
            imports.watch(module, self._serves)
        self._recorder.on_record(self._recorded)
        if not sys.modules.keys().isdisjoint(_WEB_SERVERS):
            self._serves(None)

    def end(self) -> Journal:
        """Return what was kept, and keep nothing more."""
        self._recorder.forget_record_callback(self._recorded)
        self._recorder.forget_activity_callback(self._wake)
        for module in _SDK:
            imports.unwatch(module, self._sdk_imported)
        for module in _WEB_SERVERS:
            imports.unwatch(module, self._serves)
        return self.journal

    def forked(self) -> None:
        """Begin with nothing in a forked child."""
        self._due = None
        self.journal = Journal(UNTIL_AWAKE)
        self._recorder.instruments = (self.journal,)

    def _sdk_imported(self, _module: object) -> None:
        if sys.modules.keys().isdisjoint(_USES_OF_THE_SDK):
            self._wake()

    def _serves(self, _module: object) -> None:
        self._recorder.on_activity(self._wake)

    def _recorded(self) -> None:
        """Wake at once, or soon if an event loop runs. May be called again."""
        if self._due is None and self._wakes_later():
            self._due = unmocked.monotonic() + 2 * _LOOP_SECONDS
        elif (
            self._due is None or unmocked.monotonic() > self._due or self.journal.count > _MOST_KEPT
        ):
            self._wake()

    def _wakes_later(self) -> bool:
        """Have the event loop of this thread wake soon; return False if no loop runs."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None:
            return False
        with faults.guarded("wake"):
            loop = asyncio._get_running_loop()
            if loop is not None:
                loop.call_later(_LOOP_SECONDS, self._wake)
                return True
        return False
