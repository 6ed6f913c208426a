"""OTLP by OpenTelemetry's own variables, and what a collector that is not there costs: nothing."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

import metertap
from metertap.install_command import install_command
from metertap.settings.settings import Settings
from metertap_exporters.otlp import FIRST_SECONDS, OtlpReader
from metertap_exporters.otlp_delivery import Delivery
from servers.otlp_receiver import Receiver, hanging_collector, receiver, unreachable_endpoint
from support.late_threads import late_threads
from support.programs import ended, started
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = [pytest.mark.sdk, pytest.mark.programs]

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
CUMULATIVE, DELTA = 2, 1


def cache_hits(collector: Receiver) -> list[tuple[int, float]]:
    """Temporality and value of the one series of hits, in each request."""
    return [
        (metric.sum.aggregation_temporality, point.as_int or point.as_double)
        for metric in collector.metrics("cache.requests")
        for point in metric.sum.data_points
        if "hit" in {pair.value.string_value for pair in point.attributes}
    ]


def test_what_was_recorded_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        with metertap.instrument() as tap:
            metertap.record_tool_call("search", True, 12.5)
            metertap.record_tool_call("search", False, 1.0, "ValueError")
            metertap.cache_meter("prompts").hit()
            name = tap.snapshot()["service"]["name"]
    assert collector.tool_calls() == {("search", "ok"): 1, ("search", "exception"): 1}
    assert cache_hits(collector) == [(CUMULATIVE, 1)]
    assert collector.service_names() == {name}


@pytest.mark.parametrize(
    ("preference", "expected"),
    [("cumulative", [(CUMULATIVE, 1), (CUMULATIVE, 3)]), ("delta", [(DELTA, 1), (DELTA, 2)])],
)
def test_the_preferred_temporality_is_kept(
    preference: str, expected: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "600000")
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        with metertap.instrument() as tap:
            cache = metertap.cache_meter("prompts")
            cache.hit()
            metertap.record_tool_call("search", True, 1.0)
            tap.flush(60_000)
            for _ in range(2):
                cache.hit()
                metertap.record_tool_call("search", True, 1.0)
            tap.flush(60_000)
            assert cache_hits(collector) == expected
            found = [
                (metric.histogram.aggregation_temporality, point.count)
                for metric in collector.metrics("gen_ai.execute_tool.duration")
                for point in metric.histogram.data_points
            ]
            assert found == expected


def test_none_wins_over_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        with metertap.instrument() as tap:
            metertap.record_tool_call("search", True, 1.0)
            assert not tap.pipeline.pushes
            assert tap.diagnosis()["otlp"] is None
    assert collector.requests == []


@pytest.mark.parametrize(("protocol", "module"), [("grpc", "grpc"), ("http/protobuf", "http")])
def test_an_exporter_that_is_not_installed_is_one_warning_with_the_remedy(
    protocol: str, module: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"opentelemetry.exporter.otlp.proto.{module}.metric_exporter"
    monkeypatch.setitem(sys.modules, name, None)  # Python's own way to say: not there
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    with metertap.instrument() as tap:
        metertap.record_tool_call("search", True, 1.0)
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
    assert warnings_of(caplog) == [
        f"OTLP over {protocol} cannot be set up: its exporter is not installed: "
        f"{install_command('otlp')}"
    ]


def test_a_setting_that_the_exporter_refuses_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with metertap.instrument() as tap:
        metertap.record_tool_call("search", True, 1.0)
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
    (warning,) = warnings_of(caplog)
    assert warning.startswith("OTLP over grpc cannot be set up: ")


# It works on, past several export intervals, and says when it has come to its end.
PROGRAM = """
import threading, metertap
metertap.instrument()
for _ in range(4):
    metertap.record_tool_call("search", True, 1.0)
    threading.Event().wait(0.15)
print(metertap.get_all_metrics()["tool_metrics"]["search"]["total_calls"], flush=True)
{end}
"""


UNINSTRUMENT = "metertap.uninstrument()\nthreading.Event().wait(0.5)"


@pytest.mark.parametrize(
    ("answers", "protocol", "end"),
    [
        pytest.param("refuses", "grpc", "", id="grpc refused, exit"),
        pytest.param("refuses", "http/protobuf", "", id="http refused, exit"),
        pytest.param("hangs", "grpc", "", id="grpc hangs, exit"),
        pytest.param("hangs", "http/protobuf", "", id="http hangs, exit"),
        pytest.param("refuses", "grpc", UNINSTRUMENT, id="grpc refused, uninstrument"),
        pytest.param("hangs", "http/protobuf", UNINSTRUMENT, id="http hangs, uninstrument"),
    ],
)
def test_a_collector_that_is_not_there_costs_one_warning_and_half_a_second(
    answers: str, protocol: str, end: str
) -> None:
    env = {"OTEL_METRIC_EXPORT_INTERVAL": "100", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with hanging_collector() as hanging:
        env[ENDPOINT] = hanging if answers == "hangs" else unreachable_endpoint()
        program = PROGRAM.format(end=end)
        with started((sys.executable, "-c", program), env=env) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"4\n"
            at_its_end = time.monotonic()
            found = ended(process)
            assert time.monotonic() - at_its_end < 7  # the exporter itself tries for ten
    assert found.status == 0
    assert found.told == (
        f"metertap: OTLP: metrics could not be delivered by {protocol} "
        "(is OTEL_EXPORTER_OTLP_ENDPOINT right?); told once until they can be\n"
    )


def test_a_flush_waits_no_longer_than_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with hanging_collector() as endpoint:
        monkeypatch.setenv(ENDPOINT, endpoint)
        with metertap.instrument() as tap:
            metertap.record_tool_call("search", True, 1.0)
            begun = time.monotonic()
            tap.flush(100)
            assert time.monotonic() - begun < 5  # the exporter itself tries for ten seconds


NO_METRICS = MetricsData(resource_metrics=[])
SUCCESS, FAILURE = MetricExportResult.SUCCESS, MetricExportResult.FAILURE


class Scripted(MetricExporter):
    """An exporter whose exports end as they are told to, one after the other."""

    def __init__(self, *results: MetricExportResult) -> None:
        super().__init__()
        self.results = list(results)
        self.entered, self.released = threading.Event(), threading.Event()
        self.released.set()

    def export(self, metrics_data: MetricsData, *_args: Any, **_kwargs: Any) -> MetricExportResult:
        self.entered.set()
        self.released.wait(60)
        return self.results.pop(0)

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_kwargs: Any) -> None:
        """Nothing is open."""


def test_a_collector_that_comes_back_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted(SUCCESS, FAILURE, FAILURE, SUCCESS, SUCCESS, FAILURE)
    delivery = Delivery(exporter, "grpc")
    while exporter.results:
        delivery.export(NO_METRICS)
    failing, again = "metrics could not be delivered", "the collector answers again"
    told = [failing if failing in line else again for line in warnings_of(caplog)]
    assert told == [failing, again, failing]


@pytest.mark.parametrize("first", [SUCCESS, FAILURE])
def test_a_delivery_that_is_settled_goes_on_or_ends_for_good(first: MetricExportResult) -> None:
    exporter = Scripted(first, SUCCESS)
    delivery = Delivery(exporter, "grpc")
    delivery.export(NO_METRICS)
    assert delivery.settle(1) is (first is SUCCESS)
    delivery.export(NO_METRICS)
    assert exporter.results == ([] if first is SUCCESS else [SUCCESS])


def test_settling_waits_for_an_export_in_progress() -> None:
    exporter = Scripted(SUCCESS)
    delivery = Delivery(exporter, "grpc")
    exporter.released.clear()
    thread = threading.Thread(target=delivery.export, args=(NO_METRICS,))
    thread.start()
    exporter.entered.wait(60)
    threading.Timer(0.1, exporter.released.set).start()
    assert delivery.settle(60) is True
    thread.join()


def test_measuring_goes_on_while_an_export_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    with hanging_collector() as endpoint:
        monkeypatch.setenv(ENDPOINT, endpoint)
        with metertap.instrument() as tap:
            metertap.record_tool_call("search", True, 1.0)
            otlp = tap.pipeline._readers.otlp
            assert otlp is not None
            wait_for(otlp.delivery._exporting.locked)
            metertap.record_tool_call("search", True, 1.0)
            assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 2


def test_a_shutdown_that_is_repeated_waits_for_the_one_under_way() -> None:
    # A process may be told to end (SIGTERM) while its exit handlers push the rest.
    exporter = Scripted(SUCCESS)
    reader = OtlpReader(Delivery(exporter, "grpc"), Settings(export_interval_seconds=600.0))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("calls").add(1)
    exporter.released.clear()
    first = threading.Thread(target=reader.shutdown, args=(10_000,))
    first.start()
    exporter.entered.wait(60)
    second = threading.Thread(target=reader.shutdown, args=(10_000,))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    exporter.released.set()
    second.join(60)
    first.join(60)
    assert exporter.results == []


def test_a_thread_that_begins_after_the_shutdown_exports_once_and_delays_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_begin = late_threads(monkeypatch)
    exporter = Scripted(SUCCESS)
    reader = OtlpReader(Delivery(exporter, "grpc"), Settings(export_interval_seconds=600.0))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("calls").add(1)
    reader.shutdown(10)
    assert exporter.results == [SUCCESS]
    may_begin.set()
    reader._thread.join(60)
    assert exporter.results == []


def test_the_first_export_comes_soon_and_the_others_at_an_interval_of_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        with metertap.instrument():
            metertap.record_tool_call("search", True, 1.0)
            wait_for(lambda: collector.tool_calls() == {("search", "ok"): 1})
            metertap.record_tool_call("search", True, 1.0)
            wait_for(lambda: collector.tool_calls() == {("search", "ok"): 2}, 60)


def test_the_operators_interval_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "600000")
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINT, collector.endpoint)
        with metertap.instrument():
            metertap.record_tool_call("search", True, 1.0)
            threading.Event().wait(2 * FIRST_SECONDS)
            assert collector.requests == []
