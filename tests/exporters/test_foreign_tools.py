"""Tools that only another instrumentation measured: estimates from its histogram, told as such."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

import metertap
from metertap import catalogue
from metertap.recording import Recorder
from metertap.workers import records
from metertap.workers.ledger import Ledger
from metertap_exporters.json.foreign import foreign_tools, section
from support.checked import check

pytestmark = pytest.mark.sdk

TOOL, SERVER, CLIENT = (
    catalogue.TOOL_DURATION.name,
    catalogue.SERVER_DURATION.name,
    catalogue.CLIENT_DURATION.name,
)
BOUNDS = [0.1, 0.2, 0.5, 1.0]

Record = Callable[..., None]


class Foreign:
    """A provider to which other instrumentations record, and which is read from the start."""

    def __init__(self, views: Sequence[View] = ()) -> None:
        self.provider = MeterProvider(views=views)
        self.tap = metertap.instrument(meter_provider=self.provider)

    def record(
        self,
        seconds: Sequence[float],
        *,
        tool: str | None = "search",
        metric: str = TOOL,
        scope: str = "other",
        unit: str = "s",
        **attributes: str,
    ) -> None:
        histogram = self.provider.get_meter(scope).create_histogram(
            metric, unit=unit, explicit_bucket_boundaries_advisory=BOUNDS
        )
        named = {} if tool is None else {"gen_ai.tool.name": tool}
        dotted = {key.replace("_", "."): value for key, value in attributes.items()}
        for value in seconds:
            histogram.record(value, {**named, **dotted})

    def tools(self) -> dict[str, Any]:
        document = self.tap.snapshot()
        check(document)
        json.dumps(document, allow_nan=False)
        found: dict[str, Any] = document["tool_metrics"]
        return found


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    made = Foreign()
    yield made
    made.tap.shutdown()
    made.provider.shutdown()


def test_an_estimate_says_so_and_what_it_cannot_know_is_null(foreign: Foreign) -> None:
    foreign.record([0.25, 0.75], error_type="ValueError")
    foreign.record([0.5] * 8)
    found = foreign.tools()["search"]
    assert (found["method"], found["source"]) == ("estimate", "other")
    assert found["total_calls"] == 10
    assert (found["successful_calls"], found["failed_calls"]) == (8, 2)
    assert found["success_rate"] == 80.0
    assert found["error_types"] == {"ValueError": 2}
    assert found["total_latency_ms"] == pytest.approx(5000)
    assert found["avg_latency_ms"] == pytest.approx(500)
    assert (found["min_latency_ms"], found["max_latency_ms"]) == (250, 750)
    assert {name for name, value in found.items() if value is None} == {
        "cancelled_calls",
        "caller_errors",
        "interim_results",
        "outcomes",
        "error_outcomes",
        "window_samples",
        "active_calls",
        "last_call_timestamp",
        "with_cache",
        "first_item",
    }


@pytest.mark.parametrize(
    ("seconds", "expected_ms"),
    [
        # 100 evenly in (0.1, 0.2]: half of the bucket is below the median
        ([0.1 + 0.001 * n for n in range(1, 101)], (150, 195, 199)),
        # all in the first bucket, which begins at 0 but for the smallest that was seen
        ([0.09] * 10, (90, 90, 90)),
        # beyond the last bound: between that and the largest that was seen
        ([2.0] * 2 + [4.0] * 8, (2500, 3850, 3970)),
    ],
)
def test_percentiles_are_estimated_inside_the_bucket(
    foreign: Foreign, seconds: list[float], expected_ms: tuple[float, ...]
) -> None:
    foreign.record(seconds)
    found = foreign.tools()["search"]
    estimated = tuple(found[f"{name}_latency_ms"] for name in ("p50", "p95", "p99"))
    assert estimated == pytest.approx(expected_ms)


def test_a_single_call_has_no_percentiles(foreign: Foreign) -> None:
    foreign.record([0.3])
    assert foreign.tools()["search"]["p50_latency_ms"] is None


def test_a_scope_that_has_both_histograms_shows_each_call_once(foreign: Foreign) -> None:
    foreign.record([0.3])
    foreign.record([0.3], metric=SERVER, mcp_method_name="tools/call")
    foreign.record([0.3], metric=SERVER, tool="on the server only", scope="mcp library")
    found = foreign.tools()
    assert {name: tool["total_calls"] for name, tool in found.items()} == {
        "search": 1,
        "on the server only": 1,
    }


@pytest.mark.parametrize(
    "recorded",
    [
        {"tool": None},
        {"metric": CLIENT},
        {"metric": "gen_ai.client.operation.duration"},
        {"unit": "ms"},  # the convention's name, and not its unit
    ],
)
def test_what_is_no_tool_call_in_seconds_is_no_tool(
    foreign: Foreign, recorded: dict[str, Any]
) -> None:
    foreign.record([0.3], **recorded)
    assert foreign.tools() == {}


def test_a_counter_of_that_name_is_no_tool(foreign: Foreign) -> None:
    counter = foreign.provider.get_meter("other").create_counter(TOOL, unit="s")
    counter.add(1, {"gen_ai.tool.name": "search"})
    assert foreign.tools() == {}


def test_a_tool_of_ours_and_theirs_of_one_name_stay_apart(foreign: Foreign) -> None:
    metertap.record_tool_call("search", True, 1.0)
    foreign.record([0.3, 0.3])
    foreign.record([0.3] * 3, scope="third")
    found = foreign.tools()
    assert {name: tool["total_calls"] for name, tool in found.items()} == {
        "search": 1,
        "search@other": 2,
        "search@third": 3,
    }
    assert found["search"]["method"] == "exact"


def test_what_metertap_recorded_itself_is_not_estimated_again(foreign: Foreign) -> None:
    metertap.record_tool_call("search", True, 1.0)
    assert list(foreign.tools()) == ["search"]


@pytest.mark.parametrize(
    ("aggregation", "known"),
    [
        (ExponentialBucketHistogramAggregation(), {"min_latency_ms"}),
        (ExplicitBucketHistogramAggregation([]), {"min_latency_ms"}),
        (ExplicitBucketHistogramAggregation(BOUNDS, record_min_max=False), {"p50_latency_ms"}),
    ],
)
def test_another_kind_of_histogram_gives_what_it_has(aggregation: Any, known: set[str]) -> None:
    foreign = Foreign([View(instrument_type=Histogram, aggregation=aggregation)])
    foreign.record([0.3] * 10)
    found = foreign.tools()["search"]
    assert found["total_calls"] == 10
    assert found["avg_latency_ms"] == pytest.approx(300)
    assert {
        name for name in ("min_latency_ms", "p50_latency_ms") if found[name] is not None
    } == known
    foreign.provider.shutdown()


def test_a_sum_that_overflowed_is_null_in_a_document_that_is_whole(foreign: Foreign) -> None:
    foreign.record([1e308, 1e308])
    found = foreign.tools()["search"]
    assert found["total_calls"] == 2
    assert found["avg_latency_ms"] is None


def test_what_others_name_and_measure_reaches_other_workers() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    histogram = provider.get_meter("other\ud800").create_histogram(TOOL, unit="s")
    histogram.record(1e305, {"gen_ai.tool.name": "\ud800" * 300, "error.type": "E\ud800"})
    ledger = Ledger(Recorder(), [section(lambda: foreign_tools(reader.get_metrics_data()))])
    now = {name: (items, 1.0) for name, items in ledger.now(["foreign"]).items()}
    taken = records.read(records.written(records.Head(), ledger.sections, now, {}), ledger.sections)
    [(key, counts)] = taken.sheet["foreign"].items()
    assert (key, counts.count, counts.total) == (("?" * 200, "other?"), 1, None)
    assert counts.error_types == {"E?": 1}
