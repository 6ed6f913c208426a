"""Alerts of a process and a real Alertmanager, without any Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.alerts.evaluator import RESOLVED
from metertap.settings.address import parse
from metertap_exporters.alert_receivers.receiver import ALERTMANAGER, Receiver
from servers.real_servers import alertmanager
from servers.webhook import Webhook, webhook
from support.alert_receivers import SENDER, alert
from support.http import get
from support.waiting import wait_for

pytestmark = pytest.mark.real

NAME = "MetertapHighErrorRate"
TABLE = """
[tool.metertap.alerts]
every = 0.1
window = "2s"
for = "0s"
minimum_calls = 20
success_objective = false
"""


@pytest.fixture
def told() -> Iterator[Webhook]:
    """The webhook to which Alertmanager passes alerts on."""
    with webhook() as made:
        yield made


@pytest.fixture
def manager(
    tmp_path: Path, told: Webhook, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> Iterator[str]:
    """The address of an Alertmanager that a process instrumented from now on tells of alerts."""
    (tmp_path / "metertap.toml").write_text(TABLE)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    monkeypatch.setenv("METRICS_JSON_PORT", str(free_port))
    with alertmanager(tmp_path / "alertmanager", told.url) as url:
        monkeypatch.setenv("METERTAP_ALERTMANAGER_URL", url)
        yield url


def known(manager: str) -> list[dict[str, Any]]:
    """List the alerts that Alertmanager has."""
    found: list[dict[str, Any]] = get(f"{manager}/api/v2/alerts").json()
    return found


def failing() -> None:
    for _ in range(20):
        metertap.record_tool_call("search", False, 1.0, "ValueError")


def test_a_failing_tool_reaches_a_webhook_through_alertmanager_and_resolves(
    manager: str, told: Webhook
) -> None:
    with metertap.instrument(service_name="shop") as tap:
        failing()
        fired = wait_for(lambda: told.bodies)[0]
        (alert,) = fired["alerts"]
        assert (fired["version"], alert["status"]) == ("4", "firing")
        assert alert["annotations"]["summary"].startswith("search fails: 100 % of 20 calls in ")
        assert alert["labels"] == {
            "alertname": NAME,
            "severity": "warning",
            "tool": "search",
            "service": "shop",
            "instance": alert["labels"]["instance"],
        }
        assert alert["generatorURL"] == f"{tap.json_url}/"
        (held,) = known(manager)
        assert held["status"]["state"] == "active"
        resolved = wait_for(lambda: told.bodies[1:])[0]
        assert resolved["status"] == resolved["alerts"][0]["status"] == "resolved"
        assert resolved["alerts"][0]["fingerprint"] == alert["fingerprint"]
        assert resolved["alerts"][0]["labels"] == alert["labels"]


def test_what_we_send_to_a_webhook_has_the_shape_of_what_alertmanager_sends(
    manager: str, told: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(item) for key, item in value.items()}
        return [shape(item) for item in value] if isinstance(value, list) else type(value)

    with webhook() as ours:
        monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", ours.url)
        with metertap.instrument():
            failing()
            for index, status in enumerate(("firing", "resolved")):
                theirs = wait_for(lambda index=index: told.bodies[index:])[0]  # type: ignore[misc]
                own = wait_for(lambda index=index: ours.bodies[index:])[0]  # type: ignore[misc]
                assert own["status"] == theirs["status"] == status
                for body in (own, theirs):
                    body["groupLabels"] = {}  # by what is grouped is the operator's choice
                assert shape(own) == shape(theirs)


def test_a_process_that_is_restarted_while_it_fails_raises_no_second_alert(
    manager: str, told: Webhook
) -> None:
    for _ in range(3):
        metertap.reset()
        with metertap.instrument() as tap:
            failing()
            wait_for(lambda: tap.watch and tap.watch.receivers[0].last_delivery)
    assert len(known(manager)) == 1
    # It is told of the first firing alone: at its end no process said that it resolved.
    assert [body["status"] for body in told.bodies] == ["firing"]
    with metertap.instrument() as tap:
        metertap.record_tool_call("search", True, 1.0)
        failing()
        wait_for(lambda: [body["status"] for body in told.bodies] == ["firing", "resolved"])
        assert tap.watch is not None


def test_alertmanager_takes_every_alert_whatever_a_tool_is_called(
    manager: str, told: Webhook
) -> None:
    names = ['a"b\\c', "two\nlines", "ünïcödé 工具", "<img onerror=x>", "{{ .Labels }}", "-" * 200]
    with metertap.instrument() as tap:
        for name in names:
            for _ in range(20):
                metertap.record_tool_call(name, False, 1.0)
        wait_for(lambda: len(known(manager)) == len(names))
        assert {alert["labels"]["tool"] for alert in known(manager)} == set(names)
        assert tap.watch is not None
        assert tap.watch.receivers[0].problem is None


def test_an_alert_of_before_the_clock_was_set_back_is_taken(manager: str) -> None:
    now = time.time()
    fired = alert(since=now + 3600)
    receiver = Receiver(ALERTMANAGER, parse(manager))
    try:
        for told in (replace(fired, since=now), replace(fired, state=RESOLVED, since=now)):
            receiver.tell([told], SENDER)
            receiver.flush(60)
            assert receiver.problem is None
            assert receiver.last_delivery is not None
    finally:
        receiver.close()
