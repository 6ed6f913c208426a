"""A provider that the application sets after `instrument()`: no count is lost, none is doubled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import Tap, catalogue
from metertap.otel import replay, sdk
from metertap.state import recorder
from servers.otlp_receiver import Receiver, hanging_collector, receiver
from support.exposition import key, samples
from support.http import get
from support.metric_data import points
from support.providers import ApiProvider
from support.waiting import wait_for

pytestmark = pytest.mark.sdk

DURATION = "gen_ai.execute_tool.duration"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def set_provider() -> tuple[MeterProvider, InMemoryMetricReader]:
    """What an application does when it gets round to it."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return provider, reader


def calls(reader: InMemoryMetricReader, tool: str = "search") -> int:
    return sum(
        point.count
        for point in points(reader, DURATION)
        if point.attributes["gen_ai.tool.name"] == tool
    )


def hits(reader: InMemoryMetricReader) -> int:
    return sum(
        point.value
        for point in points(reader, "cache.requests")
        if point.attributes["cache.request.type"] == "hit"
    )


def record(times: int = 1) -> None:
    for _ in range(times):
        metertap.record_tool_call("search", True, 20.0)
        metertap.cache_meter("prompts").hit()


def test_metertap_moves_with_everything_that_it_counted() -> None:
    with metertap.instrument() as tap:
        record(3)
        provider, theirs = set_provider()
        assert tap.pipeline.provider is provider
        assert tap.pipeline.owned is None
        record(2)
        assert (calls(theirs), hits(theirs)) == (5, 5)
        (point,) = points(theirs, DURATION)
        assert point.sum == pytest.approx(0.1)
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 5


def test_a_call_in_progress_at_the_move_is_counted_once_and_ends() -> None:
    def active() -> list[Any]:
        return [point.value for point in points(theirs, "metertap.tool.active")]

    with metertap.instrument():
        with metertap.measure_tool("search"):
            _, theirs = set_provider()
            assert active() == [1]
        assert active() == [0]
        assert calls(theirs) == 1


def test_our_prometheus_endpoint_goes_on_where_it_was() -> None:
    ok = key(
        f"{DURATION.replace('.', '_')}_seconds_count",
        gen_ai_tool_name="search",
        metertap_outcome="ok",
    )
    cached = key(
        "cache_requests_total",
        cache_name="prompts",
        cache_request_type="hit",
        cache_system="manual",
    )
    with metertap.instrument(prometheus=True) as tap:
        record(3)
        url = wait_for(lambda: tap.prometheus_url) + "/metrics"
        before = samples(get(url).body)
        set_provider()
        after = samples(get(url).body)
        assert tap.prometheus_url == url.removesuffix("/metrics")
        assert [before[ok], before[cached]] == [after[ok], after[cached]] == [3, 3]
        record()
        assert samples(get(url).body)[ok] == 4


def test_operations_of_client_and_server_with_equal_attributes_stay_apart() -> None:
    with metertap.instrument():
        pairs = {"mcp.method.name": "tools/list"}
        recorder().operation("server", catalogue.SERVER_DURATION, pairs).record(1.0)
        recorder().operation("client", catalogue.CLIENT_DURATION, pairs).record(2.0)
        _, theirs = set_provider()
        assert [point.sum for point in points(theirs, "mcp.server.operation.duration")] == [1.0]
        assert [point.sum for point in points(theirs, "mcp.client.operation.duration")] == [2.0]


def test_a_provider_is_noticed_that_was_set_behind_every_patch() -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument() as tap:
        record()
        metrics._internal._METER_PROVIDER = MeterProvider([reader], shutdown_on_exit=False)
        tap.snapshot()
        assert calls(reader) == 1


def test_after_shutdown_a_provider_that_is_set_is_left_alone() -> None:
    with metertap.instrument():
        record()
    provider, theirs = set_provider()
    assert sdk.readers_of(provider) == [theirs]
    assert points(theirs, DURATION) == []


def test_what_a_collector_has_got_already_does_not_reach_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        with metertap.instrument() as tap:
            record(3)
            tap.flush(60_000)
            record(2)  # the collector gets these when metertap leaves its own provider
            with metertap.measure_tool("search"):
                _, theirs = set_provider()
                # The stream that ends must not go on saying that a call is in progress.
                assert last_values(collector, "metertap.tool.active") == [0]
            assert collector.tool_calls() == {("search", "ok"): 5}
            assert sorted(last_values(collector, "cache.requests")) == [0, 5]
            assert (calls(theirs), hits(theirs)) == (1, 0)
            record()
            assert (calls(theirs), hits(theirs)) == (2, 1)
            assert any("set late" in note for note in tap.diagnosis()["notes"])


def last_values(collector: Receiver, name: str) -> list[float]:
    metric = collector.metrics(name)[-1]
    return [point.as_int or point.as_double for point in metric.sum.data_points]


def test_what_no_collector_has_got_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    with hanging_collector() as endpoint:
        monkeypatch.setenv(ENDPOINT, endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
        with metertap.instrument() as tap:
            record(3)
            otlp = tap.pipeline._readers.otlp
            assert otlp is not None
            wait_for(otlp.delivery._exporting.locked)
            _, theirs = set_provider()
            assert (calls(theirs), hits(theirs)) == (3, 3)


def test_the_collector_gets_everything_once_when_the_application_has_no_otlp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        with metertap.instrument():
            record(3)
            set_provider()
            record(2)
    assert collector.tool_calls() == {("search", "ok"): 5}
    assert sorted(last_values(collector, "cache.requests")) == [0, 5]


def test_more_than_can_be_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_LIMIT", 10)
    with metertap.instrument() as tap:
        record(11)
        _, theirs = set_provider()
        record(2)
        assert (calls(theirs), hits(theirs)) == (2, 13)
        assert any("set late" in note for note in tap.diagnosis()["notes"])


def test_a_provider_that_takes_no_readers_gets_everything_and_ours_goes_on() -> None:
    with metertap.instrument(prometheus=True) as tap:
        record(3)
        api = ApiProvider()
        metrics.set_meter_provider(api)
        record(2)
        assert len(api.recorded) == 5
        assert tap.pipeline.owned is not None
        mine = InMemoryMetricReader()
        tap.pipeline.owned.add_metric_reader(mine)
        assert hits(mine) == 5


def test_a_provider_that_takes_no_readers_does_not_end_our_export(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        with metertap.instrument() as tap:
            record(3)
            tap.flush(60_000)
            metrics.set_meter_provider(ApiProvider())
            record(2)
    assert collector.tool_calls() == {("search", "ok"): 5}
    assert sorted(last_values(collector, "cache.requests")) == [0, 5]


@pytest.mark.parametrize("delivers", [False, True])
def test_threads_that_record_during_the_move_lose_nothing(
    delivers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as collector:
        if delivers:
            monkeypatch.setenv(ENDPOINT, collector.endpoint)
        with metertap.instrument() as tap:
            record()
            tap.flush(60_000)
            begun, ended = threading.Barrier(5), threading.Event()
            recorded = [1]

            def work() -> None:
                begun.wait()
                mine = 0
                while not ended.wait(0.0002):  # slower than what overflows the journal
                    record()
                    mine += 1
                recorded.append(mine)

            _, theirs = in_threads(work, begun, ended, tap)
            total = sum(recorded)
            if delivers:
                assert calls(theirs) + collector.tool_calls()["search", "ok"] == total
                assert hits(theirs) + max(last_values(collector, "cache.requests")) == total
            else:
                assert (calls(theirs), hits(theirs)) == (total, total)
            assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == total


def in_threads(
    work: Callable[[], None], begun: threading.Barrier, ended: threading.Event, tap: Tap
) -> tuple[MeterProvider, InMemoryMetricReader]:
    """Set a provider while four threads are at work."""
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        begun.wait()
        seen = recorder_calls(tap)
        wait_for(lambda: recorder_calls(tap) > seen + 100)
        made = set_provider()
        seen = recorder_calls(tap)
        wait_for(lambda: recorder_calls(tap) > seen + 100)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    return made


def recorder_calls(tap: Tap) -> int:
    total: int = tap.snapshot()["system_metrics"]["total_requests"]
    return total
