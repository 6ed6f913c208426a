"""The tap: what `instrument()` returns, and the life of what stands behind it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import MeterProvider

from metertap import faults, locks, state
from metertap.otel import resource
from metertap.runtime.installation import Installation, document
from metertap.runtime.pipeline import FLUSH_MILLISECONDS, Pipeline
from metertap.settings import settings
from metertap.settings.settings import Options, Settings

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from metertap.runtime.alert_watch import AlertWatch

_lock = locks.rlock()
_active: Tap | None = None


class Tap:
    """One process's measuring: patches, pipeline and endpoints. Use as a context manager, or not.

    Where measuring is disabled the tap exists, does nothing, and says so in its document.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._installation.settings

    @property
    def pipeline(self) -> Pipeline:
        """Where records go; not for programs."""
        return self._installation.pipeline

    @property
    def watch(self) -> AlertWatch | None:
        """What evaluates alerts, if any are configured; not for programs."""
        return self._installation.watch

    @property
    def is_active(self) -> bool:
        """Whether anything is patched and recorded."""
        return self._installation.is_active

    @property
    def json_url(self) -> str | None:
        """Address of the JSON endpoint; None until the first tool or cache is seen."""
        return self._installation.json_url

    @property
    def prometheus_url(self) -> str | None:
        """Address of the Prometheus endpoint; None until the first tool or cache is seen."""
        return self._installation.prometheus_url

    def snapshot(self) -> dict[str, Any]:
        """Return the JSON document that `GET :9109/metrics` serves, as it is now."""
        return self._installation.document()

    def alerts(self) -> list[dict[str, Any]] | None:
        """Return alerts that are pending or fire, or just resolved; None if none are set up."""
        return self._installation.alerts()

    def diagnosis(self) -> dict[str, Any]:
        """Return what is patched, what is not and why, where records go: what `doctor` shows."""
        return self._installation.diagnosis()

    def flush(self, timeout_milliseconds: float = FLUSH_MILLISECONDS) -> None:
        """Push what was measured to the collector now, if one is exported to. Never raises."""
        self.pipeline.flush(timeout_milliseconds)

    def at_exit(self) -> None:
        """Push the rest as the process ends, for half a second at most, and leave the listing."""
        self._installation.at_exit()

    def shutdown(self) -> None:
        """Flush, stop the endpoints, undo every patch. What was recorded stays. Never raises."""
        with _lock:
            _put_in_force(self, None)
            self._installation.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.shutdown()


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
        tap = Tap(Installation(_provider(options.get("meter_provider"))))
        _put_in_force(None, tap)
        tap._installation.start()
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
    resource.forked()
    if _active is not None:
        _active._installation.forked()


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
    return document(given, resource.short_identity(given))
