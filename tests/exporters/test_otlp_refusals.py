"""A collector that takes an export, and refuses some of its data points: one hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.metrics import Meter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExportResult,
    MetricsData,
)

import metertap
from metertap.cli import report_tables
from metertap.settings.settings import Settings
from metertap_exporters import otlp_delivery
from metertap_exporters.otlp import otlp_reader
from servers.otlp_receiver import Receiver, grpc_receiver, receiver, unreachable_endpoint
from support.warned import warnings_of

pytestmark = pytest.mark.sdk


@pytest.fixture(params=["http/protobuf", "grpc"])
def collector(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Receiver]:
    with (grpc_receiver if request.param == "grpc" else receiver)() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "600000")
        monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", "*")
        yield found


def says(collector: Receiver, rejected: int, message: str) -> None:
    collector.answer = ExportMetricsServiceResponse(
        partial_success=ExportMetricsPartialSuccess(
            rejected_data_points=rejected, error_message=message
        )
    )


def problem(tap: metertap.Tap) -> object:
    """Export, and return the problem that `metertap doctor` shows then."""
    metertap.record_tool_call("search", True, 1.0)
    tap.flush(60_000)
    report = tap.diagnosis()
    shown = dict(report_tables.problems(report))
    assert shown.get("OTLP") == report["otlp_problem"]
    return report["otlp_problem"]


def test_refused_points_are_told_once_and_shown_as_long_as_they_are_refused(
    collector: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        assert problem(tap) is None
        says(collector, 3, "too old\n\x1b[31m")
        told = r"the collector refused 3 data points: too old\n\x1b[31m"
        assert problem(tap) == told
        says(collector, 4, "")
        assert problem(tap) == "the collector refused 4 data points"
        says(collector, 0, "label `x` is " + "long" * 100)
        assert str(problem(tap)).startswith("the collector took everything, but warns: label `x`")
        assert len(str(problem(tap))) < 300
        says(collector, 0, "")
        assert problem(tap) is None
        assert len(collector.requests) == 6
    assert warnings_of(caplog) == [f"OTLP: {told}; told once"]


def test_what_a_collector_says_may_be_compressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "600000")
        collector.packs = True
        says(collector, 3, "")
        with metertap.instrument(json_endpoint=False) as tap:
            assert problem(tap) == "the collector refused 3 data points"


def beyond_64_bits(meter: Meter) -> None:
    hits = meter.create_counter("app.hits")
    hits.add(2**70, {"path": "/big"})
    hits.add(7, {"path": "/small"})


def half_a_character(meter: Meter) -> None:
    meter.create_counter("app.hits", description="\ud800").add(1)


@pytest.mark.parametrize(
    ("record", "delivered"), [(beyond_64_bits, [7, 7]), (half_a_character, [])], ids=["big", "text"]
)
def test_a_figure_of_the_application_that_cannot_be_encoded_keeps_no_other_back(
    record: Callable[[Any], None],
    delivered: list[int],
    collector: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = MeterProvider()
    with metertap.instrument(json_endpoint=False, meter_provider=provider) as tap:
        record(provider.get_meter("app"))
        shown = [str(problem(tap)) for _ in range(2)]
        assert all(each.startswith("figures of app.hits are left out") for each in shown)
        assert collector.tool_calls() == {("search", "ok"): 2}
        metrics = collector.metrics("app.hits")
        assert [point.as_int for metric in metrics for point in metric.sum.data_points] == delivered
    provider.shutdown()
    (warning,) = warnings_of(caplog)
    assert warning.startswith("OTLP: figures of app.hits are left out")


def collected(*names: str) -> MetricsData:
    """A collection of the application's in which no figure can be encoded."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    for name in names:
        provider.get_meter("app").create_counter(name).add(2**70, {"user": "somebody"})
    found = reader.get_metrics_data()
    provider.shutdown()
    assert found is not None
    return found


def exported(data: MetricsData, protocol: str) -> str | None:
    """Export what is not delivered, and return the problem that is shown then."""
    reader = otlp_reader(Settings(otlp_protocol=protocol, export_interval_seconds=600.0))
    assert reader.delivery.export(data) is MetricExportResult.FAILURE
    reader.shutdown()
    return reader.delivery.problem


def test_if_nothing_can_be_encoded_nothing_is_sent_and_the_problem_is_that(
    collector: Receiver, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = request.node.callspec.params["collector"]
    shown = exported(collected("app.hits", "app.misses"), protocol)
    left_out = "figures of app.hits, app.misses are left out, since they cannot be encoded ("
    assert str(shown).startswith(left_out)
    assert collector.requests == []
    told = warnings_of(caplog)
    assert [line.partition(" are left out")[0] for line in told] == [
        "OTLP: figures of app.hits",
        "OTLP: figures of app.misses",
    ]
    assert "somebody" not in f"{shown} {told}"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_a_collector_that_is_down_does_not_take_is_not_encoded_again(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", unreachable_endpoint())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")  # too short for a second try
    again: list[MetricsData] = []

    def encodable(data: MetricsData) -> tuple[MetricsData, None]:
        again.append(data)
        return data, None

    monkeypatch.setattr(otlp_delivery, "encodable", encodable)
    shown = exported(MetricsData(resource_metrics=[]), protocol)
    assert (shown, again) == (f"the newest export by {protocol} was not delivered", [])
