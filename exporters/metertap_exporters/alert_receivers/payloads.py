"""The JSON of alerts: for Alertmanager's API v2, and in its webhook format (version 4) for others.

Labels do not depend on the process's life, so that an alert that fires again after a restart is the
same alert to its receiver.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from metertap.alerts.evaluator import FIRING, RESOLVED, Alert

REPEAT_SECONDS = 60.0
"""How often, in seconds, Alertmanager gets firing alerts again: as often as from Prometheus."""
_NEVER_ENDED = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Sender:
    """The process that sends alerts, as its receivers see it."""

    service: str
    instance: str
    page: str | None = None
    """Address of the process's live page."""
    runbooks: str = ""


def shown(alert: Alert) -> dict[str, Any]:
    """Return an alert's entry in the JSON document."""
    finding = alert.finding
    labels = dict(finding.labels)
    return {
        "name": finding.name,
        "severity": finding.definition.severity,
        "state": alert.state,
        "tool": labels.get("tool"),
        "cache": labels.get("cache"),
        "place": labels.get("place"),
        "value": finding.value,
        "threshold": finding.threshold,
        "unit": finding.definition.unit,
        "since": alert.since,
        "summary": finding.summary,
    }


def labels(alert: Alert, sender: Sender) -> dict[str, str]:
    """Return the labels that identify an alert at its receivers."""
    return {
        "alertname": alert.finding.name,
        "severity": alert.finding.definition.severity,
        **dict(alert.finding.labels),
        "service": sender.service,
        "instance": sender.instance,
    }


def to_alertmanager(
    firing: Sequence[Alert], resolved: Sequence[Alert], sender: Sender, now: float
) -> bytes:
    """Return firing and resolved alerts as JSON, at Unix time `now`.

    `endsAt` of a firing alert is in the future, since a process that ends cannot report that. It is
    late enough for the alert to fire again after a restart, so that a restart is not noticed.
    """
    told = []
    for alert in (*firing, *resolved):
        lasts = 4 * REPEAT_SECONDS + alert.finding.for_seconds
        ends = alert.since if alert.state == RESOLVED else now + lasts
        told.append({**_common(alert, sender), "endsAt": _time(max(ends, _start(alert)))})
    return json.dumps(told, allow_nan=False).encode()


def to_webhook(fired: Sequence[Alert], resolved: Sequence[Alert], sender: Sender) -> bytes:
    """Return alerts that began to fire or have resolved as JSON, in Alertmanager's format."""
    alerts = []
    for alert in (*fired, *resolved):
        entry = _common(alert, sender)
        alerts.append(
            {
                "status": FIRING if alert.state == FIRING else RESOLVED,
                **entry,
                "endsAt": (
                    _NEVER_ENDED
                    if alert.state == FIRING
                    else _time(max(alert.since, _start(alert)))
                ),
                "fingerprint": _fingerprint(entry["labels"]),
            }
        )
    group = {"service": sender.service, "instance": sender.instance}
    payload = {
        "version": "4",
        "groupKey": f"metertap:{json.dumps(group, sort_keys=True)}",
        "truncatedAlerts": 0,
        "status": FIRING if fired else RESOLVED,
        "receiver": "metertap",
        "groupLabels": group,
        "commonLabels": _common_items(alert["labels"] for alert in alerts),
        "commonAnnotations": _common_items(alert["annotations"] for alert in alerts),
        "externalURL": sender.page or "",
        "alerts": alerts,
    }
    return json.dumps(payload, allow_nan=False).encode()


def _common(alert: Alert, sender: Sender) -> dict[str, Any]:
    finding = alert.finding
    annotations = {"summary": finding.summary}
    if sender.runbooks:
        annotations["runbook_url"] = f"{sender.runbooks}#{finding.name.lower()}"
    return {
        "labels": labels(alert, sender),
        "annotations": annotations,
        "startsAt": _time(_start(alert)),
        "generatorURL": sender.page or "",
    }


def _start(alert: Alert) -> float:
    """Return when the alert fired, in Unix seconds.

    If the clock was set back since, it ends then at the earliest: Alertmanager refuses an alert
    that ends before it begins, however often it is told of it.
    """
    return alert.since if alert.fired is None else alert.fired


def _common_items(mappings: Iterable[dict[str, str]]) -> dict[str, str]:
    found = list(mappings)
    return dict(set(found[0].items()).intersection(*(each.items() for each in found[1:])))


def _fingerprint(of: dict[str, str]) -> str:
    text = json.dumps(of, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _time(unix_seconds: float) -> str:
    moment = datetime.fromtimestamp(unix_seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
