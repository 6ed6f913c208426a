"""A real Prometheus with the rules and a real Alertmanager: alerts reach a webhook, and resolve."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.alerts import thresholds
from metertap_exporters import rules
from servers.real_servers import Store, alertmanager, prometheus
from servers.webhook import webhook
from support.http import get
from support.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.programs]

# An odd name: it must reach the webhook as it is.
TOOL = 'a"} or vector(1) # {{ $value }}'


@contextmanager
def working(fails: threading.Event) -> Iterator[None]:
    """Calls of the tool, which fail as long as the event is set."""
    ending = threading.Event()

    def work() -> None:
        while not ending.wait(0.02):
            failed = fails.is_set()
            metertap.record_tool_call(TOOL, not failed, 5.0, "ValueError" if failed else None)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@pytest.mark.faults
def test_a_failing_tool_raises_an_alert_that_reaches_a_webhook_and_resolves(tmp_path: Path) -> None:
    table = {
        "window": "2s",
        "for": "1s",
        "success_objective": False,
        "tools": {TOOL: {"error_rate": 0.2, "minimum_calls": 5}},
    }
    file = tmp_path / "rules.yml"
    file.write_text(rules.written(thresholds.read(table)), encoding="utf-8")
    fails = threading.Event()
    with (
        metertap.instrument(prometheus=True) as tap,
        working(fails),
        webhook() as hook,
        alertmanager(tmp_path / "alertmanager", hook.url) as manager,
        prometheus(
            tmp_path / "prometheus",
            wait_for(lambda: tap.prometheus_url),
            rules=file,
            alertmanager=manager,
        ) as store,
    ):

        def of(alert: str, status: str) -> list[dict[str, Any]]:
            return [
                item
                for body in list(hook.bodies)
                for item in body["alerts"]
                if item["labels"]["alertname"] == alert and item["status"] == status
            ]

        wait_for(lambda: store.value("sum(job_tool:metertap_calls:rate2s)"))
        assert not hook.requests  # it works, and nobody is told of anything
        fails.set()
        faults.fault("here", "a fault of the test's")
        (raised, *_) = wait_for(lambda: of("MetertapHighErrorRate", "firing"), 60)
        (fault, *_) = wait_for(lambda: of("MetertapMeterFaults", "firing"), 60)
        assert fault["labels"]["metertap_place"] == "here"
        assert raised["labels"]["gen_ai_tool_name"] == TOOL
        assert raised["labels"]["severity"] == "warning"
        assert raised["annotations"]["summary"] == f"Tool {TOOL} of metertap fails too often"
        assert raised["annotations"]["description"].endswith("failed; the threshold is 20%.")
        assert raised["annotations"]["runbook_url"] == "docs/runbooks.md#metertaphigherrorrate"
        assert not of("MetertapHighErrorRate", "resolved")
        fails.clear()
        wait_for(lambda: of("MetertapHighErrorRate", "resolved"), 60)
        assert unhealthy(store) == {}


def unhealthy(store: Store) -> dict[str, str]:
    """Rules that Prometheus could not evaluate, and why."""
    groups = get(f"{store.url}/api/v1/rules").json()["data"]["groups"]
    everything = [rule for group in groups for rule in group["rules"]]
    assert everything
    return {rule["name"]: rule["lastError"] for rule in everything if rule["health"] == "err"}


def test_series_past_the_limit_of_a_real_process_raise_the_alert(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(rules.written(thresholds.read({"for": "0s"})), encoding="utf-8")
    with metertap.instrument(prometheus=True, series_limit=10) as tap:
        for number in range(30):
            metertap.record_tool_call(f"tool {number}", True, 5.0)
        url = wait_for(lambda: tap.prometheus_url)
        with prometheus(tmp_path / "prometheus", url, rules=file) as store:
            firing = 'ALERTS{alertname="MetertapSeriesOverflow", alertstate="firing"}'
            wait_for(lambda: store.query(firing))
            assert unhealthy(store) == {}


def test_a_process_that_has_gone_raises_the_alert(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(rules.written(thresholds.read({"for": "0s"})), encoding="utf-8")
    firing = 'ALERTS{alertname="MetertapProcessDown", alertstate="firing"}'
    with metertap.instrument(prometheus=True) as tap:
        metertap.record_tool_call("search", True, 5.0)
        url = wait_for(lambda: tap.prometheus_url)
        with prometheus(tmp_path / "prometheus", url, rules=file) as store:
            wait_for(lambda: store.value("up"))
            # On a loaded machine the first scrapes may have come too late, and so raised it.
            wait_for(lambda: not store.query(firing))
            tap.shutdown()
            wait_for(lambda: store.query(firing))
