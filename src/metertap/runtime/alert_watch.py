"""Alerts of this process: a thread evaluates them at intervals, and tells receivers.

The thread exists only if alerts are configured, somebody can see them, and a tool or cache was
used.
"""

from __future__ import annotations

import http.client  # noqa: F401  # a child forked while a thread imports it first could never import it
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metertap import faults, locks, threads
from metertap.alerts import counters, thresholds
from metertap.alerts.evaluator import Alert, Evaluator
from metertap.alerts.thresholds import BadThresholds, Thresholds
from metertap.recording import Recorder
from metertap.settings.settings import Settings
from metertap.unmocked import unmocked
from metertap_exporters.alert_receivers import payloads
from metertap_exporters.alert_receivers.payloads import Sender
from metertap_exporters.alert_receivers.receiver import ALERTMANAGER, WEBHOOK, Receiver

_FLUSH_SECONDS = 0.5
"""The longest, in seconds, that a shutdown waits for receivers."""
_BIND_SECONDS = 1.0
"""The longest, in seconds, to wait for the JSON endpoint's address."""
_MOST_TOLD = 10
"""The most mistakes in the table that get a warning each."""


class AlertWatch:
    """Evaluates the alerts of this process and tells receivers, from `start` to `close`."""

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        service: Callable[[], Mapping[str, str]],
        page: Callable[[float], str | None],
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._service = service
        self._page = page
        self.thresholds = usable(settings.alerts or {})
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._starting = locks.lock()
        self._stop = locks.event()
        self._thread: threading.Thread | None = None
        self._sender: Sender | None = None
        self._alerts: tuple[Alert, ...] = ()
        self._started = unmocked.monotonic()
        self.receivers = [
            Receiver(kind, address)
            for kind, address in (
                (ALERTMANAGER, self._settings.alertmanager_url),
                (WEBHOOK, self._settings.alert_webhook_url),
            )
            if address is not None
        ]

    def start(self) -> None:
        """Begin to evaluate when the first tool or cache is used."""
        self._before = counters.read(self._recorder)
        self._recorder.on_activity(self._begin)

    def alerts(self) -> list[dict[str, Any]]:
        """List the alerts as the JSON document shows them."""
        return [payloads.shown(alert) for alert in self._alerts]

    def described(self) -> dict[str, Any]:
        """Describe thresholds and receivers for `metertap doctor`."""
        return {
            "every_seconds": self._settings.alert_every,
            "running": self._thread is not None,
            "thresholds": {**asdict(self.thresholds), "jobs": list(self.thresholds.jobs)},
            "receivers": [receiver.described() for receiver in self.receivers],
        }

    def flush(self, until: float) -> None:
        """Stop evaluating, and wait for posts to receivers that are in progress, until `until`.

        `until` is by the monotonic clock.
        """
        self._stop.set()
        for receiver in self.receivers:
            with faults.guarded("alerts.flush"):
                receiver.flush(max(0.0, until - unmocked.monotonic()))

    def close(self) -> None:
        """End, and wait half a second at most for posts in progress."""
        self.flush(unmocked.monotonic() + _FLUSH_SECONDS)
        self.end()

    def end(self) -> None:
        """Ask this watch's and the receivers' threads to end, and return at once."""
        self._recorder.forget_activity_callback(self._begin)
        self._stop.set()
        for receiver in self.receivers:
            with faults.guarded("alerts.close"):
                receiver.close()

    def forked(self) -> None:
        """Begin again in a forked child, which has its own alerts from its first record on."""
        self._begin_anew()
        self._before = counters.Counters()

    def sender(self) -> Sender:
        """The name of this process for receivers, which is the same after a restart.

        `service.instance.id` if the operator gave one; else the machine with the port of the JSON
        endpoint, which distinguishes processes of one service.
        """
        if self._sender is None:
            given = self._settings.resource_from_environment.get("service.instance.id")
            page = self._page(_BIND_SECONDS)
            port = page.rpartition(":")[2] if page and self._settings.json_port else ""
            here = socket.gethostname()
            self._sender = Sender(
                service=self._service().get("name", "python"),
                instance=given or (f"{here}:{port}" if port else here),
                page=page and f"{page}/",
                runbooks=self.thresholds.runbooks,
            )
        return self._sender

    def _begin(self) -> None:
        with self._starting:
            if self._thread is None and not self._stop.is_set():
                self._thread = threads.Thread(
                    target=self._run, args=(self._stop,), name="metertap-alerts", daemon=True
                )
                self._thread.start()

    def _run(self, stop: threading.Event) -> None:
        with faults.guarded("alerts"):
            if self.receivers:
                self.sender()  # later, the address of the page may be gone
            every = self._settings.alert_every
            evaluator = Evaluator(self.thresholds, every, self._started, self._before)
            due = unmocked.monotonic() + every
            while not stop.wait(max(0.0, due - unmocked.monotonic())):
                due = max(due + every, unmocked.monotonic())
                with faults.guarded("alerts.evaluate"):
                    self._look(evaluator)

    def _look(self, evaluator: Evaluator) -> None:
        now = counters.read(self._recorder)
        self._alerts = evaluator.evaluate(unmocked.monotonic(), unmocked.time(), now)
        for receiver in self.receivers:
            with faults.guarded("alerts.tell"):
                receiver.tell(self._alerts, self.sender())


def watch(
    settings: Settings,
    recorder: Recorder,
    *,
    service: Callable[[], Mapping[str, str]],
    page: Callable[[float], str | None],
    is_seen: bool,
) -> AlertWatch | None:
    """Return the watch of the configured alerts; None if nobody would learn of them."""
    made = AlertWatch(settings, recorder, service, page)
    return made if made.receivers or is_seen else None


def usable(table: Mapping[str, Any]) -> Thresholds:
    """Read the thresholds of the table; an unusable one is a warning, and the default applies."""
    try:
        return thresholds.read(table)
    except BadThresholds as error:
        _tell(error.messages)
    return thresholds.read(_without_bad(table, ()))


def _tell(messages: Sequence[str]) -> None:
    """Warn of each mistake once; if there are many, only of the first."""
    for message in messages[:_MOST_TOLD]:
        faults.warn_once(f"alerts.{message}", "alerts.%s (the default is used)", message)
    more = len(messages) - _MOST_TOLD
    if more > 0:
        faults.warn_once("alerts", "and %d more in alerts; `metertap rules` lists them", more)


def _without_bad(table: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Copy a table without keys whose values are unusable."""
    kept: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            value = _without_bad(value, (*path, key))
        alone: Any = value
        for name in reversed((*path, key)):
            alone = {name: alone}
        try:
            thresholds.read(alone)
        except BadThresholds:
            continue
        kept[key] = value
    return kept
