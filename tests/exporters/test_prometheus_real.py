"""A real Prometheus, and its own checker of metrics."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

import metertap
from servers.real import program
from servers.real_servers import prometheus
from support.http import get
from support.recorded import record
from support.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.programs]


def test_promtool_finds_nothing_to_complain_of() -> None:
    promtool = program("promtool")
    # Names of the process's metrics are OpenTelemetry's: promtool has other ideas of units.
    without = ["system_metrics"]
    with metertap.instrument(prometheus=True, disabled_instrumentations=without) as tap:
        record()
        text = get(wait_for(lambda: tap.prometheus_url) + "/metrics").body
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_prometheus_scrapes_and_answers_promql(tmp_path: Path) -> None:
    with metertap.instrument(prometheus=True) as tap:
        record()
        url = wait_for(lambda: tap.prometheus_url)
        document = tap.snapshot()
        with prometheus(tmp_path / "prometheus", url) as server:
            wait_for(lambda: server.value("up"))
            search = document["tool_metrics"]["search"]
            percentiles = {
                dict(labels)["quantile"]: value * 1000
                for labels, value in server.query("metertap_tool_latency_seconds").items()
            }
            assert percentiles == {
                "0.5": pytest.approx(search["p50_latency_ms"]),
                "0.95": pytest.approx(search["max_latency_ms"]),  # of four calls
                "0.99": pytest.approx(search["max_latency_ms"]),
            }
            assert server.value("metertap_cache_hit_ratio") == 0.75
            buckets = "gen_ai_execute_tool_duration_seconds_bucket"
            median = server.value(
                f'histogram_quantile(0.5, sum by (le) ({buckets}{{metertap_outcome="ok"}}))'
            )
            assert median == 0.02  # two of four calls lie in the first two buckets
            outcomes = "sum by (metertap_outcome) (gen_ai_execute_tool_duration_seconds_count)"
            assert server.query(outcomes) == {
                (("metertap_outcome", "ok"),): 4,
                (("metertap_outcome", "exception"),): 1,
            }
            assert server.value('sum(cache_requests_total{cache_request_type="hit"})') == 3


def test_prometheus_takes_a_scrape_with_exemplars(tmp_path: Path) -> None:
    # It asks for OpenMetrics, and a line that it cannot read fails the whole scrape.
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("any")
    with metertap.instrument(prometheus=True) as tap:
        with tracer.start_as_current_span("request"):
            for latency_ms in (5.0, 15.0, 700.0):
                metertap.record_tool_call('a "name"', True, latency_ms)
        url = wait_for(lambda: tap.prometheus_url)
        asked = {"Accept": "application/openmetrics-text;version=1.0.0"}
        assert get(f"{url}/metrics", headers=asked).body.count(b" # {trace_id=") == 3
        with prometheus(tmp_path / "prometheus", url) as server:
            assert wait_for(lambda: server.value("up")) == 1
            assert server.value("sum(gen_ai_execute_tool_duration_seconds_count)") == 3


def test_prometheus_on_the_json_endpoint_shows_the_right_port(tmp_path: Path) -> None:
    with metertap.instrument(prometheus=True) as tap:
        record()
        wrong, right = wait_for(lambda: tap.json_url), wait_for(lambda: tap.prometheus_url)
        with prometheus(tmp_path / "prometheus", wrong) as server:
            (target,) = wait_for(
                lambda: [item for item in server.targets() if "HTTP status" in item["lastError"]]
            )
    assert target["lastError"] == (
        f"server returned HTTP status 406 This is the JSON endpoint: scrape {right}/metrics instead"
    )
