"""Measuring without OpenTelemetry, until the first thing is measured.

Importing OpenTelemetry's SDK takes longer than most programs take to start, and a program that
never calls a tool has no use for it. So a process in which nobody can look yet (no endpoint is to
listen, nothing is pushed) begins asleep: durations are kept as they are, and the pipeline that is
made later begins with them.

No import is done by a thread of ours: a child that is forked meanwhile could never import the same,
and an import that the program does at that time could fail. In an event loop the import waits for a
moment, so that the first answer, to MCP's `initialize` for example, is not kept waiting for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import util

from metertap import faults, state
from metertap.otel.replay import UNTIL_AWAKE, Journal
from metertap.patching import imports
from metertap.runtime.callers import Caller
from metertap.runtime.opening import opens_at_once
from metertap.settings.settings import Settings

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
    "metertap_exporters.prometheus",
)
"""Modules of ours that import it. A pipeline that is made meanwhile would need them half made."""
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
"""Modules that are imported when a program begins to serve: it may be scraped while it is idle.

The package uvicorn is imported by libraries that serve nothing, mcp's own among them.
"""
_LOOP_SECONDS = 0.1
"""How long the event loop is left to answer the request that is measured first."""
_MOST_KEPT = 10_000
"""Durations that are kept before the pipeline is made at once."""


def may_sleep(settings: Settings, caller: Caller) -> bool:
    """Return whether nobody can look at this process, or gets anything of it, before it records."""
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
    """Return whether the module is there, so that no later import fails. It is not imported."""
    try:
        return util.find_spec(module) is not None
    except Exception:  # of whatever import hook the environment has
        return False


class Asleep:
    """The stand-in for the pipeline from `start` to `end`. It calls `wake` when it is time to end.

    `journal` has what was kept before.
    """

    def __init__(self, wake: Callable[[], None], journal: Journal | None = None) -> None:
        self._wake = wake
        self._recorder = state.recorder()
        self._due: float | None = None
        self.journal = journal or Journal(UNTIL_AWAKE)

    def start(self) -> None:
        """Keep what is recorded, and wake when it is time to."""
        self._recorder.instruments = (self.journal,)
        for module in _SDK:
            imports.watch(module, self._sdk_imported)
        for module in _WEB_SERVERS:
            imports.watch(module, self._serves)
        self._recorder.on_record(self._recorded)
        if not sys.modules.keys().isdisjoint(_WEB_SERVERS):
            self._serves(None)

    def end(self) -> Journal:
        """Keep nothing more; return what was kept."""
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
        """Wake at once, or in a moment where an event loop runs. Called again and again."""
        if self._due is None and self._wakes_later():
            self._due = time.monotonic() + 2 * _LOOP_SECONDS
        elif self._due is None or time.monotonic() > self._due or self.journal.count > _MOST_KEPT:
            self._wake()

    def _wakes_later(self) -> bool:
        """Have the event loop of this thread start the pipeline soon; False if there is none."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None:
            return False
        with faults.guarded("wake"):
            loop = asyncio._get_running_loop()
            if loop is not None:
                loop.call_later(_LOOP_SECONDS, self._wake)
                return True
        return False
