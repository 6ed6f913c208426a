"""What the JSON document makes of another instrumentation's histogram."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from metertap.recording import Percentiles
from metertap_exporters.json.foreign import ForeignTool, foreign_tools
from support.known_figures import document


def point(
    counts: list[int],
    bounds: list[float],
    total: float,
    least: float,
    most: float,
    **attributes: str,
) -> HistogramDataPoint:
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    return HistogramDataPoint(named, 0, 1, sum(counts), total, counts, bounds, least, most)


def test_the_points_of_another_instrumentations_tool_are_merged() -> None:
    tool = ForeignTool("search", "other")
    bounds = [0.1, 0.2, 0.4]
    tool.add(point([4, 0, 4, 0], bounds, 2.0, 0.05, 0.4))
    tool.add(point([0, 1, 0, 1], bounds, 1.5, 0.15, 0.8, error__type="KeyError"))
    tool.add(point([0, 2, 0, 0], bounds, 0.5, 0.1, 0.2, error__type="KeyError"))
    assert (tool.count, tool.failed, tool.error_types) == (12, 4, {"KeyError": 4})
    assert (tool.total_ms, tool.minimum_ms, tool.maximum_ms) == (4000.0, 50.0, 800.0)
    # Of 12 the 6th is 2/3 into the second bucket, the 11.4th 0.4 into the last one.
    assert tool.percentiles() == Percentiles(
        pytest.approx(100 + 100 * 2 / 3), pytest.approx(400 + 400 * 0.4), pytest.approx(752.0)
    )
    shown = document(foreign=(tool,))["tool_metrics"]["search@other"]
    assert (shown["total_calls"], shown["successful_calls"], shown["failed_calls"]) == (12, 8, 4)
    assert shown["success_rate"] == pytest.approx(100 * 8 / 12)
    assert shown["avg_latency_ms"] == pytest.approx(4000 / 12)


def test_buckets_of_other_bounds_are_not_mixed_and_all_else_is() -> None:
    tool = ForeignTool("search", "other")
    tool.add(point([2, 2], [1.0], 4.0, 0.5, 2.0))
    tool.add(point([0, 0, 4], [0.1, 0.2], 4.0, 1.0, 1.0))
    assert (tool.count, tool.total_ms) == (8, 8000.0)
    assert tool.percentiles().p50 == 1000.0


@pytest.mark.parametrize(
    ("counts", "bounds", "least", "most", "median"),
    [
        ([10, 0], [1.0], 0.0, 1.0, 500.0),
        ([10, 0], [1.0], 0.6, 1.0, 600.0),
        ([10, 0], [1.0], 0.1, 0.4, 400.0),
        ([0, 10], [1.0], 1.0, 3.0, 2000.0),
        ([0, 10], [1.0], float("inf"), float("-inf"), 1000.0),  # neither is kept
        ([10, 0], [1.0], float("inf"), float("-inf"), 500.0),
        ([0, 0, 2, 0], [0.0, 1.0, 2.0], 1.0, 2.0, 1500.0),
        ([1, 0], [1.0], 0.5, 0.5, None),  # a single call
        ([2], [], 0.5, 0.5, None),  # no bounds
        ([1, 1, 0], [1.0, 2.0], 0.0, 2.0, 1000.0),
    ],
)
def test_a_quantile_is_interpolated_in_its_bucket(
    counts: list[int], bounds: list[float], least: float, most: float, median: float | None
) -> None:
    tool = ForeignTool("search", "other")
    tool.add(point(counts, bounds, 1.0, least, most))
    assert tool.percentiles().p50 == median


def test_durations_of_less_than_a_millisecond_are_known() -> None:
    tool = ForeignTool("search", "other")
    tool.add(point([2, 0], [1.0], 0.00075, 0.0, 0.00075))
    assert (tool.total_ms, tool.minimum_ms, tool.maximum_ms) == (0.75, 0.0, 0.75)


def test_without_data_there_are_no_foreign_tools() -> None:
    assert foreign_tools(None) == []
