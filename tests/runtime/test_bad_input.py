"""What a program may pass by mistake: dropped, counted, told once, and never an exception."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue, faults
from support.documents import tools
from support.metric_data import points
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter

NO_DURATIONS: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    -1,
    -1e-9,
    "12",
    True,
    None.__class__,
    Decimal(1),
    [1],
    10**400,
    1e300,
]


class Silent:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__
    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("latency_ms", [*NO_DURATIONS, Silent()], ids=lambda value: type(value))
def test_a_latency_that_is_no_duration_is_dropped_and_the_call_counts(
    latency_ms: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        metertap.record_tool_call("search", True, latency_ms)
    metertap.record_tool_call("search", True, 5.0)
    found = tools()["search"]
    assert found["successful_calls"] == 4
    assert (found["window_samples"], found["total_latency_ms"]) == (1, 5.0)
    assert faults.fault_counts() == {}
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("latency_ms", [0, 0.0, 5e-324, 12, 1e15])
def test_any_other_latency_is_a_sample(latency_ms: float) -> None:
    metertap.record_tool_call("search", True, latency_ms)
    assert tools()["search"]["max_latency_ms"] == latency_ms
    assert faults.fault_counts() == {}


def test_a_callers_mistakes_are_told_once_each_and_no_faults_of_the_meter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(meter_provider=MeterProvider([reader]), json_endpoint=False) as tap:
        for _ in range(3):
            metertap.record_tool_call("search", True, math.nan)
            metertap.record_tool_call("search", False, None, error_type=3)  # type: ignore[arg-type]
            metertap.record_tool_call(5, True)  # type: ignore[arg-type]
            collector = metertap.PerformanceMetricsCollector()
            collector.set_active_sessions(-1)
            collector.set_concurrent_requests("many")  # type: ignore[arg-type]
        assert points(reader, catalogue.FAULTS.name) == []
        assert points(reader, catalogue.TOOL_DURATION.name) == []
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 6
    assert len(warnings_of(caplog)) == 5


@pytest.mark.parametrize("name", [None, 5, b"search", ["search"], {}, "", Silent()])
def test_what_is_no_name_is_counted_under_other(
    name: Any, caplog: pytest.LogCaptureFixture
) -> None:
    metertap.record_tool_call(name, True, 1.0)
    with metertap.measure_tool(name):
        pass
    metertap.record_cache_hit(name)
    metertap.cache_meter(name).miss()
    document = metertap.get_all_metrics()
    assert {key: tool["total_calls"] for key, tool in document["tool_metrics"].items()} == {
        "_OTHER": 2
    }
    assert document["cache_metrics"]["_OTHER"]["total_requests"] == 2
    assert faults.fault_counts() == {}
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("name", [5, b"search", ["search"], {}, Silent()])
def test_a_tool_with_what_is_no_name_has_the_functions_own(
    name: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert metertap.tool(name=name)(ascii)("x") == "'x'"
    assert tools()["ascii"]["total_calls"] == 1
    assert faults.fault_counts() == {}
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize(
    ("error_type", "named"),
    [
        (ValueError("secret"), "ValueError"),
        (TimeoutError, "TimeoutError"),
        (404, "_OTHER"),
        (["ValueError"], "_OTHER"),
        (Silent(), "_OTHER"),
    ],
)
def test_an_error_type_that_is_no_text_is_named_if_it_can_be(error_type: Any, named: str) -> None:
    metertap.record_tool_call("search", False, 1.0, error_type)
    found = tools()["search"]
    assert found["error_types"] == {named: 1}
    assert found["failed_calls"] == 1


def test_huge_names_and_types_are_cut_off() -> None:
    metertap.record_tool_call("n" * 100_000, False, 1.0, "t" * 100_000)
    metertap.record_tool_call("n" * 100_000, False, 1.0, "t" * 100_000)
    metertap.record_cache_hit("c" * 100_000)
    metertap.tool(name="d" * 100_000)(len)
    document = metertap.get_all_metrics()
    found = document["tool_metrics"]["n" * 200]
    assert found["error_types"] == {"t" * 200: 2}
    assert list(document["cache_metrics"]) == ["c" * 200]
    assert "d" * 200 in document["tool_metrics"]
    assert len(json.dumps(document)) < 5000


def test_names_that_cannot_be_encoded_are_made_to() -> None:
    """One such label would make every export of every metric fail."""
    metertap.record_tool_call("half \ud83d", False, error_type="\udc80")
    (name,) = tools()
    assert name.encode() == b"half ?"
    assert tools()[name]["error_types"] == {"?": 1}


def test_names_by_hand_stop_at_the_series_limit(caplog: pytest.LogCaptureFixture) -> None:
    with metertap.instrument(series_limit=3, json_endpoint=False):
        for number in range(10):
            metertap.record_tool_call(f"tool {number}", True)
            metertap.record_cache_hit(f"cache {number}")
        metertap.tool(name="registered")(len)  # what the program has is in the document
        document = metertap.get_all_metrics()
    assert list(document["tool_metrics"]) == ["tool 0", "tool 1", "tool 2", "_OTHER", "registered"]
    assert document["tool_metrics"]["_OTHER"]["total_calls"] == 7
    assert list(document["cache_metrics"]) == ["cache 0", "cache 1", "cache 2", "_OTHER"]
    assert document["cache_metrics"]["_OTHER"]["hits"] == 7
    (warning,) = warnings_of(caplog)
    assert "METERTAP_SERIES_LIMIT" in warning


def test_error_types_of_one_tool_are_bounded() -> None:
    for number in range(500):
        metertap.record_tool_call("search", False, 1.0, f"Error{number}")
    found = tools()["search"]["error_types"]
    assert len(found) == 101
    assert found["_OTHER"] == 400


@pytest.mark.parametrize("entries", [-1, 1.5, "2", None, Silent(), 2**63])
def test_what_is_no_number_of_evictions_is_dropped(
    entries: Any, caplog: pytest.LogCaptureFixture
) -> None:
    meter = metertap.cache_meter("prompts")
    meter.evicted(entries)
    meter.evicted(2)
    assert metertap.get_all_metrics()["cache_metrics"]["prompts"]["evictions"] == 2
    assert faults.fault_counts() == {}
    assert [text.partition(" is ")[2] for text in warnings_of(caplog)] == [
        "not a number of entries"
    ]


@pytest.mark.parametrize("number", [10**12 + 1, 2**63, 10**400], ids=["more", "long", "longer"])
def test_a_number_that_no_collector_takes_costs_no_other_figure(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    otlp = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.metrics_encoder")
    reader = InMemoryMetricReader()
    with metertap.instrument(meter_provider=MeterProvider([reader]), json_endpoint=False):
        for _ in range(9):
            metertap.cache_meter("prompts").evicted(10**12)  # the most
        metertap.cache_meter("prompts").evicted(number)
        metertap.get_collector().set_active_sessions(number)
        metertap.get_collector().set_concurrent_requests(number)
        found = reader.get_metrics_data()
    assert found is not None
    assert otlp.encode_metrics(found).ByteSize()
    assert "cache.evictions" in str(found.to_json())
    assert len(warnings_of(caplog)) == 3


@pytest.mark.parametrize(("cache", "name"), [({}, "prices"), ((), "prices"), (Silent(), "")])
def test_a_cache_that_cannot_be_named_is_one_warning(
    cache: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        metertap.name_cache(cache, name)
    assert faults.fault_counts() == {}
    (warning,) = warnings_of(caplog)
    assert warning.startswith("name_cache: ")


@pytest.mark.faults
def test_a_truth_value_that_raises_is_a_fault_and_no_exception() -> None:
    class Undecided:
        def __bool__(self) -> bool:
            raise RuntimeError("unknown")

    metertap.record_tool_call("search", Undecided(), 1.0)  # type: ignore[arg-type]
    assert faults.fault_counts() == {"record_tool_call": 1}
