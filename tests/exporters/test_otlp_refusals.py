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

import metertap
from metertap.cli import report_tables
from servers.otlp_receiver import Receiver, grpc_receiver, receiver
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
