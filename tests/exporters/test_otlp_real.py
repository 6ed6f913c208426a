"""OTLP to a real collector (rotel) and a real store (VictoriaMetrics), asked with PromQL."""

from __future__ import annotations

from pathlib import Path

import pytest

import metertap
from servers.real_servers import Store, collector, victoria_metrics
from support.forking import ran
from support.recorded import record
from support.waiting import wait_for

pytestmark = [pytest.mark.sdk, pytest.mark.real, pytest.mark.programs]


def check(store: Store, service_name: str) -> None:
    """What the store says is what was recorded."""
    duration = "gen_ai_execute_tool_duration_seconds"
    in_tool = 'gen_ai_tool_name="search"'
    calls = f"sum by (metertap_outcome) ({duration}_count{{{in_tool}}})"
    found = wait_for(lambda: store.query(calls))
    assert found == {(("metertap_outcome", "ok"),): 4, (("metertap_outcome", "exception"),): 1}
    assert store.value(f"sum({duration}_sum{{{in_tool}}})") == pytest.approx(0.84)
    assert store.value(f'sum({duration}_bucket{{{in_tool},le="0.04"}})') == 3
    assert store.query(
        "sum by (cache_request_type, gen_ai_tool_name) (cache_requests_total) > 0"
    ) == {
        (("cache_request_type", "hit"),): 3,
        (("cache_request_type", "miss"), ("gen_ai_tool_name", "cached")): 1,
    }
    assert store.value(f"sum(metertap_tool_active{{{in_tool}}})") == 0
    ((service, *_),) = store.query(f"group by (service_name) ({duration}_count)")
    assert service == ("service_name", service_name)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_gets_what_was_recorded(
    protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector(tmp_path) as receiver:
        endpoint = receiver.grpc if protocol == "grpc" else receiver.http
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with metertap.instrument() as tap:
            record(missed_by="cached")
        check(receiver.store, tap.snapshot()["service"]["name"])


def test_a_store_that_speaks_otlp_gets_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with victoria_metrics(tmp_path) as store:
        endpoint = f"{store.url}/opentelemetry/v1/metrics"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint)
        with metertap.instrument() as tap:
            record(missed_by="cached")
        check(store, tap.snapshot()["service"]["name"])


def test_forked_children_export_over_grpc_as_well(tmp_path: Path) -> None:
    with collector(tmp_path) as receiver:
        ran(
            """
metertap.instrument().flush(5000)
call(5)
for times in (2, 3):
    in_child(lambda: call(times), leave=sys.exit)
print("null")
""",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.grpc,
        )
        each = "sum by (process_pid) (gen_ai_execute_tool_duration_seconds_count)"
        wait_for(lambda: sorted(receiver.store.query(each).values()) == [2, 3, 5])
