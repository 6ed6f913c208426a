"""The tap: what `instrument()` returns, and the life of everything behind it."""

from __future__ import annotations

import atexit
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import MeterProvider

from metertap import faults, locks, state
from metertap.otel import resource as service_identity
from metertap.runtime import running
from metertap.runtime.diagnosis import diagnose
from metertap.runtime.pipeline import FLUSH_MILLISECONDS, Pipeline
from metertap.settings import settings
from metertap.settings.settings import Options, Settings

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from metertap.runtime.alert_watch import AlertWatch
    from metertap_exporters.http.endpoint import Endpoint

_lock = locks.rlock()
_active: Tap | None = None
_TOLD = {"json": "live page and JSON at %s/", "prometheus": "Prometheus at %s/metrics"}
"""What is told of an endpoint that is there."""


class Tap:
    """One process's measuring: patches, pipeline and endpoints. Use as a context manager, or not.

    Where measuring is disabled the tap exists, does nothing, and says so in its document.
    """

    def __init__(self, given: Settings, meter_provider: MeterProvider | None = None) -> None:
        self.settings = given
        self.pipeline = Pipeline(
            given,
            state.recorder(),
            meter_provider,
            on_bound=self._endpoint_settled,
            diagnosis=self.diagnosis,
            alerts=self.alerts,
        )
        self.watch: AlertWatch | None = None
        self._active = False
        self._registering = locks.lock()

    @property
    def is_active(self) -> bool:
        """Whether anything is patched and recorded."""
        return self._active

    @property
    def json_url(self) -> str | None:
        """Address of the JSON endpoint; None until the first tool or cache is seen."""
        json = self.pipeline.json
        return json.endpoint.url if json is not None else None

    @property
    def prometheus_url(self) -> str | None:
        """Address of the Prometheus endpoint; None until the first tool or cache is seen."""
        prometheus = self.pipeline.prometheus
        return prometheus.endpoint.url if prometheus is not None else None

    def snapshot(self) -> dict[str, Any]:
        """The JSON document that `GET :9109/metrics` serves, now."""
        if self.pipeline.json is not None and self._active:
            self.pipeline.check()
            return self.pipeline.json.document()
        return _document(self.settings, self.pipeline.service(), self.alerts())

    def alerts(self) -> list[dict[str, Any]] | None:
        """Alerts that are pending, fire or have just resolved; None where none are configured."""
        return self.watch.alerts() if self.watch is not None and self._active else None

    def diagnosis(self) -> dict[str, Any]:
        """What is patched, what is not and why, where records go: what `doctor` shows."""
        return diagnose(self.settings, self.pipeline, self.watch, active=self._active)

    def flush(self, timeout_milliseconds: float = 500.0) -> None:
        """Push what was measured to the collector now, if one is exported to. Never raises."""
        self.pipeline.flush(timeout_milliseconds)

    def shutdown(self) -> None:
        """Flush, stop the endpoints, undo every patch. What was recorded stays. Never raises."""
        with _lock:
            _put_in_force(self, None)
            if not self._active:
                return
            self._active = False
            atexit.unregister(self.at_exit)
            with faults.guarded("shutdown"):
                _uninstall_instrumentations()
            with faults.guarded("shutdown"):
                if self.watch is not None:
                    self.watch.close()
            with faults.guarded("shutdown"):
                self.pipeline.shutdown()
            with faults.guarded("shutdown"):
                running.unregister()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.shutdown()

    def start(self) -> None:
        """Begin: pipeline first, so that the first patched call has somewhere to go."""
        if not self.settings.enabled:
            return
        self._active = True
        with faults.guarded("pipeline"):
            self.pipeline.start()
        with faults.guarded("alerts"):
            self._watch_alerts()
        with faults.guarded("instrumentations"):
            _install_instrumentations(self.settings)
        atexit.register(self.at_exit)

    def forked(self) -> None:
        """In a forked child: renew what a fork breaks."""
        if self._active:
            self.pipeline.forked()
            if self.watch is not None:
                self.watch.forked()

    def at_exit(self) -> None:
        """The process ends: push the rest, at most half a second, and leave the listing."""
        until = time.monotonic() + FLUSH_MILLISECONDS / 1000
        with faults.guarded("exit"):
            self.pipeline.at_exit()
        with faults.guarded("exit"):
            if self.watch is not None:
                self.watch.flush(until)
        with faults.guarded("exit"):
            running.unregister()

    def _watch_alerts(self) -> None:
        if self.settings.has_alerts:
            from metertap.runtime.alert_watch import watch

            self.watch = watch(
                self.settings,
                state.recorder(),
                service=self.pipeline.service,
                page=self._json_url_within,
                is_seen=self.pipeline.json is not None,
            )
            if self.watch is not None:
                self.watch.start()

    def _json_url_within(self, seconds: float) -> str | None:
        json = self.pipeline.json
        return None if json is None else json.endpoint.wait(seconds)

    def _endpoint_settled(self, endpoint: Endpoint) -> None:
        if endpoint.url is not None:
            faults.info(_TOLD[endpoint.label], endpoint.url)
        service = self.pipeline.service()
        json = self.pipeline.json
        # Both endpoints may bind at the same time, and what fails for one fails for the other.
        with faults.guarded("listing"), self._registering:
            running.register(
                service.get("name", running.UNNAMED),
                self.json_url,
                self.prometheus_url,
                instance_id=service.get("instance_id"),
                problem=None if json is None else json.endpoint.problem,
            )


def instrument(**options: Unpack[Options]) -> Tap:
    """Measure every tool handler and every cache of this process from here on.

    The one call. It may come before or after the libraries are imported, and repeating it returns
    the same tap. It never raises: a setting that cannot be used is one warning. Every keyword has
    an environment variable (see `metertap.settings.settings`); `meter_provider` says which
    provider to record to instead of the global one.
    """
    with _lock:
        active = _active
        if active is not None:
            if options:
                faults.warn_once(
                    "instrument again",
                    "instrument() was called before; "
                    "keywords are ignored until its tap is shut down",
                )
            return active
        given = settings.read(options)
        state.configure(given)
        tap = Tap(given, _provider(options.get("meter_provider")))
        _put_in_force(None, tap)
        tap.start()
        return tap


def active_tap() -> Tap | None:
    """Return the tap that is in force, if there is one."""
    return _active


def _put_in_force(old: Tap | None, new: Tap | None) -> None:
    """Let `new` be the active tap, if `old` is."""
    global _active
    if _active is old:
        _active = new


def _forked() -> None:
    service_identity.forked()
    if _active is not None:
        _active.forked()


state.on_fork(child=_forked)


def _provider(given: Any) -> MeterProvider | None:
    # Not isinstance: it asks the object, and this may be any object.
    if given is None or issubclass(type(given), MeterProvider):
        provider: MeterProvider | None = given
        return provider
    faults.warn_once(
        "meter_provider",
        "meter_provider=%s is no meter provider; the one in force is taken",
        faults.shown(given),
    )
    return None


def uninstrument() -> None:
    """Shut the active tap down, if there is one: every patched attribute is what it was."""
    tap = _active
    if tap is not None:
        tap.shutdown()


def reset() -> None:
    """Shut down and forget everything recorded and every setting read. For tests."""
    uninstrument()
    state.reset()


def reset_metrics() -> None:
    """Let every figure of the document begin again from nothing, while measuring goes on.

    Patches, endpoints and names stay, and what is in progress stays so: it is counted when it ends.
    What is exported goes on as well, since counters are cumulative and never go back; only the
    windows of the percentiles begin again there, too. Estimates of what other instrumentations
    measured are theirs to reset.
    """
    with faults.guarded("reset_metrics"):
        if state.is_enabled():
            state.recorder().start_over()


def get_all_metrics() -> dict[str, Any]:
    """The JSON document now, with or without an active tap."""
    tap = _active
    if tap is not None:
        return tap.snapshot()
    given = state.settings()
    return _document(given, service_identity.short_identity(given))


def _document(
    given: Settings, service: Any, alerts: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    from metertap_exporters.json.document import document

    figures = state.recorder().figures()
    return document(figures, enabled=given.enabled, service=service, alerts=alerts)


def _install_instrumentations(given: Settings) -> None:
    import metertap_instrumentation

    metertap_instrumentation.install(given.is_disabled, given.caches, given.tools)
    metertap_instrumentation.check_names(given.disabled_instrumentations)


def _uninstall_instrumentations() -> None:
    import metertap_instrumentation

    metertap_instrumentation.uninstall()
