"""A real Prometheus scrapes :9108, answers PromQL, and is sent away from the JSON endpoint."""

from __future__ import annotations

import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.http import get
from support.real import program
from support.waiting import wait_for

import metertap

pytestmark = pytest.mark.real


@pytest.fixture
def tap() -> metertap.Tap:
    """A tap with both endpoints up, a tool and a cache."""
    tap = metertap.instrument(prometheus=True)
    for number in range(200):
        failed = number % 10 == 0
        metertap.record_tool_call("search", not failed, number / 2, "KeyError" if failed else None)
    prices = metertap.cache_meter("prices")
    for _ in range(3):
        prices.hit()
    prices.miss()
    for view in (tap.pipeline.json, tap.pipeline.prometheus):
        assert view is not None
        assert view.endpoint.wait(10) is not None
    return tap


class Prometheus:
    """A server that scrapes, and what it answers."""

    def __init__(self, url: str) -> None:
        self._url = url

    def value(self, expression: str) -> float | None:
        """The value of an instant query with one series."""
        query = urllib.parse.urlencode({"query": expression})
        result: list[Any] = get(f"{self._url}/api/v1/query?{query}").json()["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def is_ready(self) -> bool:
        try:
            return get(f"{self._url}/-/ready").status == 200
        except OSError:
            return False

    def last_errors(self) -> dict[str, str]:
        """By job: what its target's last scrape came to."""
        targets = get(f"{self._url}/api/v1/targets").json()["data"]["activeTargets"]
        return {item["labels"]["job"]: item["lastError"] for item in targets}


@pytest.fixture
def prometheus(tap: metertap.Tap, tmp_path: Path, free_port: int) -> Iterator[Prometheus]:
    """Scrapes both endpoints of the tap five times a second."""
    jobs = "".join(
        f"""
  - job_name: {name}
    static_configs: [{{targets: ["{str(url).removeprefix("http://")}"]}}]"""
        for name, url in (("right", tap.prometheus_url), ("mistaken", tap.json_url))
    )
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(f"global: {{scrape_interval: 200ms}}\nscrape_configs:{jobs}\n")
    command = [
        program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{free_port}",
        "--log.level=error",
    ]
    with subprocess.Popen(command) as server:
        try:
            found = Prometheus(f"http://127.0.0.1:{free_port}")
            wait_for(found.is_ready)
            yield found
        finally:
            server.kill()


def test_promql_agrees_with_the_document(tap: metertap.Tap, prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.value('up{job="right"}'))
    tool = tap.snapshot()["tool_metrics"]["search"]
    for quantile, name in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")):
        found = prometheus.value(f'metertap_tool_latency_seconds{{quantile="{quantile}"}}')
        assert found == tool[f"{name}_latency_ms"] / 1000
    calls = "gen_ai_execute_tool_duration_seconds_count"
    assert prometheus.value(f"sum({calls})") == tool["total_calls"] == 200
    assert prometheus.value(f'sum({calls}{{error_type="KeyError"}})') == 20
    buckets = "gen_ai_execute_tool_duration_seconds_bucket"
    p95 = prometheus.value(f"histogram_quantile(0.95, sum by (le) ({buckets}))")
    assert p95 is not None
    assert 0.08 < p95 <= 0.16  # the bucket that holds the exact one
    assert prometheus.value("metertap_cache_hit_ratio") == 0.75
    assert prometheus.value('cache_requests_total{cache_request_type="hit"}') == 3


def test_one_that_scrapes_the_json_endpoint_is_told_the_right_port(
    tap: metertap.Tap, prometheus: Prometheus
) -> None:
    told = wait_for(lambda: prometheus.last_errors().get("mistaken"))
    assert f"{tap.prometheus_url}/metrics" in told


def test_promtool_finds_nothing_wrong_with_the_text(tap: metertap.Tap) -> None:
    text = get(f"{tap.prometheus_url}/metrics").body
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    complaints = checked.stdout.decode() + checked.stderr.decode()
    assert checked.returncode == 0, complaints
