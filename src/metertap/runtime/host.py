"""The measured process as its views see it, and its entry in the list of running processes."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from metertap import faults, locks, state
from metertap.otel import resource
from metertap.runtime import listing, running
from metertap.runtime.announcement import SHOWS, Announcement, joined
from metertap.runtime.callers import Caller
from metertap.runtime.leaving import Leaving
from metertap.runtime.opening import opens_at_once
from metertap.settings.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from metertap.history.writer import HistoryWriter
    from metertap.runtime.alert_watch import AlertWatch
    from metertap.runtime.pipeline import Pipeline
    from metertap_exporters.http.endpoint import Endpoint
    from metertap_exporters.json.reader import JsonSnapshot
    from metertap_exporters.json.shape import Document

_TOLD = {"json": (SHOWS, "/"), "prometheus": ("Prometheus at %s", "/metrics")}
"""The log line of an endpoint that listens, and the path that it names."""
_registering = locks.rlock()
"""Held while the entry of this process changes, by a thread of an earlier `instrument()` too.

Reentrant, for a signal handler that shuts down while this thread writes the entry.
"""


class MeasuredProcess:
    """The host of the views: `metertap_exporters.host.Host`. Any thread may call its methods."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.settings = state.settings()
        self.notes: list[str] = []
        """Decisions to be shown by `metertap doctor`."""
        self.is_active = False
        """Whether anything is patched and recorded."""
        self.watch: AlertWatch | None = None
        self.history: HistoryWriter | None = None
        self._pipeline: Pipeline | None = None
        self._leaving = Leaving(_leave, self._list_again)
        self._register: Callable[[], Path] | None = None
        self._entry: Path | None = None
        """The file that lists this process."""
        self._announcement = Announcement(lambda: self.page_within(0), self._joined)

    @property
    @abstractmethod
    def pipeline(self) -> Pipeline:
        """The target of records, made on first access."""

    @property
    def json_url(self) -> str | None:
        """Address of the JSON endpoint, while it listens."""
        json = self._made_json()
        return None if json is None else json.endpoint.url

    @property
    def prometheus_url(self) -> str | None:
        """Address of the Prometheus endpoint, while it listens."""
        prometheus = None if self._pipeline is None else self._pipeline.prometheus
        return None if prometheus is None else prometheus.endpoint.url

    def document(self) -> Document:
        """Build the JSON document as it is now."""
        with faults.guarded("document"):
            if self.is_active and self.pipeline.json is not None:
                self.pipeline.check()
                return self.pipeline.json.document()
        return document(self.settings, self.service, self.alerts)

    def service(self) -> dict[str, str]:
        """Return the program's identity."""
        if self._pipeline is None:
            return resource.short_identity(self.settings)
        return self._pipeline.service()

    def diagnosis(self) -> dict[str, Any]:
        """Return what `metertap doctor` shows."""
        from metertap.runtime.diagnosis import diagnose

        return diagnose(
            self.settings,
            lambda: self.pipeline,
            self.watch,
            self.history,
            self.notes,
            active=self.is_active,
        )

    def alerts(self) -> list[dict[str, Any]] | None:
        """Return alerts that are pending, firing or just resolved; None if none are configured."""
        return self.watch.alerts() if self.watch is not None and self.is_active else None

    def is_starting(self) -> bool:
        """Return whether the page is about to open."""
        json = self._made_json()
        return json is not None and json.endpoint.is_starting

    def where_prometheus_is(self) -> str | None:
        """Return advice for a Prometheus that scrapes the JSON endpoint; None without any."""
        return self.pipeline.where_prometheus_is()

    def opens_at_once(self, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` is to listen before the first measurement."""
        return opens_at_once(
            is_known=endpoint.port != 0 or endpoint.socket is not None,
            explicit=endpoint.explicit,
            caller=self._caller,
        )

    def note(self, text: str) -> None:
        """Keep a decision for `metertap doctor`."""
        if text not in self.notes:
            self.notes.append(text)

    def settled(self, endpoint: Endpoint) -> None:
        """Write the entry, now that `endpoint` listens, or cannot."""
        is_logged = endpoint.label == "json" and endpoint.url is not None and faults.shows_info()
        if endpoint.url is not None and self.settings.announce:
            told, path = _TOLD[endpoint.label]
            faults.info(told, endpoint.at(path))
        service = self.service()
        json = self._made_json()
        workers = None if json is None else self._workers_of(endpoint)
        # Both endpoints may bind at the same time, and an error is noted for both.
        with faults.guarded("listing"), _registering:
            if endpoint.is_stopped:
                return
            self._leaving.prepare()
            try:
                self._register = partial(
                    running.register,
                    service.get("name", running.UNNAMED),
                    self.json_url,
                    self.prometheus_url,
                    instance_id=service.get("instance_id"),
                    problem=None if json is None else json.endpoint.problem,
                    access={**_access(endpoint), "workers": workers},
                )
                self._entry = self._register()
            except OSError as error:
                told = faults.shown(error, str)
                faults.warn_once("listing", "this process cannot be listed: %s", told)
        self._announcement.listens(is_logged=is_logged)

    def _list_again(self) -> None:
        """Write the entry again if it was removed, as cleaners of temporary files do."""
        with _registering, contextlib.suppress(OSError):
            if self._register is not None and self._entry is not None and not self._entry.exists():
                self._entry = self._register()

    def _workers_of(self, endpoint: Endpoint) -> str | None:
        pipeline = self._pipeline  # without waiting for a thread that closes it
        return None if pipeline is None or not endpoint.is_shared else pipeline.workers_key

    def _joined(self) -> str | None:
        """Return what to print if another process answers for this one, as a server's does."""
        json, pipeline = self._made_json(), self._pipeline
        if json is None or pipeline is None or json.endpoint.problem is not None:
            return None
        return joined(pipeline.workers_key, self.service().get("name", running.UNNAMED))

    def _made_json(self) -> JsonSnapshot | None:
        """Return the JSON view, if there is one, without waiting for a thread that closes it.

        That thread waits for the serving thread, which calls this.
        """
        return None if self._pipeline is None else self._pipeline.json

    def _list_unserved(self) -> None:
        """Write an entry for a process without an endpoint, or before there is anything to see."""
        if self._caller.is_command or self.json_url is not None:
            return
        reason = "its JSON endpoint is switched off"
        if self.settings.json_endpoint or (self._pipeline and self._pipeline.json):
            reason = listing.NO_PAGE_YET
        self._leaving.renew()
        # If nothing can be listed, opening an endpoint reports it.
        with _registering, contextlib.suppress(OSError):
            running.register_unserved(self.service().get("name", running.UNNAMED), reason)

    def page_within(self, seconds: float) -> str | None:
        """Return the address of the page, once it is open; None after `seconds`."""
        json = self._made_json()
        url = None if json is None else json.endpoint.wait(seconds)
        return url if url and url.startswith("http") else None  # a Unix socket has no page


def _leave() -> None:
    with _registering:
        running.unregister()


def _access(endpoint: Endpoint) -> dict[str, Any]:
    """Return what a client of the same user needs for access: file names, never their contents."""
    access = endpoint.access
    files = {"token_file": access.token_file, "certificate_file": access.certfile}
    found = {name: str(path) for name, path in files.items() if path is not None}
    return {"asks_token": access.asks_token, **found}


def document(
    settings: Settings,
    service: Callable[[], dict[str, str]],
    alerts: Callable[[], list[dict[str, Any]] | None] = lambda: None,
) -> Document:
    """Build the JSON document without a view, so without other instrumentations. Never raises."""
    with faults.guarded("document"):
        from metertap_exporters.json.document import outline, with_entries

        return with_entries(
            outline(
                state.recorder().figures(),
                enabled=settings.enabled and state.is_enabled(),
                service=faults.kept("document.service", service, {}),
                alerts=faults.kept("document.alerts", alerts, None),
            )
        )
    from metertap import unavailable

    return cast("Document", unavailable.get_all_metrics())
