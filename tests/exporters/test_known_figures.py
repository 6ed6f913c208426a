"""What the views make of figures that the test made itself: each number in its place and unit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metertap import catalogue, faults
from metertap.recording import Figures, Recorder, ToolFigures
from metertap_exporters.exposition.text import Exposition
from metertap_exporters.exposition.views import Views
from metertap_exporters.json import text as json_text
from metertap_exporters.json.document import outline
from metertap_exporters.json.text import DocumentText
from support.known_figures import FIGURES, OPERATION, TOOL, UNUSED, document


def test_a_tool_is_shown_with_each_of_its_numbers() -> None:
    tools = document()["tool_metrics"]
    assert tools["search"] == {
        "source": "test",
        "method": "exact",
        "total_calls": 70,
        "total_latency_ms": 240.0,
        "successful_calls": 7,
        "failed_calls": 7,
        "cancelled_calls": 8,
        "caller_errors": 16,
        "interim_results": 32,
        "outcomes": TOOL.counts,
        "success_rate": 50.0,
        "avg_latency_ms": 20.0,
        "min_latency_ms": 2.0,
        "max_latency_ms": 90.0,
        "p50_latency_ms": 11.0,
        "p95_latency_ms": 95.5,
        "p99_latency_ms": 99.5,
        "extrapolated": ["p95", "p99"],
        "window_samples": 9,
        "active_calls": 5,
        "error_types": {"KeyError": 3},
        "error_outcomes": {"KeyError": {"exception": 2, "caller_error": 1}},
        "last_call_timestamp": 1234.5,
        "with_cache": {
            "all_hit": {
                "calls": 2,
                "avg_latency_ms": 4.0,
                "p50_latency_ms": 1.0,
                "p95_latency_ms": 2.0,
                "p99_latency_ms": 3.0,
            },
            "missed": {
                "calls": 0,
                "avg_latency_ms": None,
                "p50_latency_ms": None,
                "p95_latency_ms": None,
                "p99_latency_ms": None,
            },
        },
        "first_item": {
            "calls": 4,
            "avg_latency_ms": 1.5,
            "p50_latency_ms": 4.0,
            "p95_latency_ms": 5.0,
            "p99_latency_ms": 6.0,
        },
    }
    unused = tools["unused"]
    assert (unused["total_calls"], unused["success_rate"]) == (0, None)
    assert (unused["avg_latency_ms"], unused["with_cache"], unused["first_item"]) == (None,) * 3


def test_caches_operations_and_sessions_are_shown_with_each_of_their_numbers() -> None:
    found = document()
    assert found["cache_metrics"]["prompts"] == {
        "system": "redis",
        "hits": 6,
        "misses": 2,
        "total_requests": 8,
        "hit_rate": 75.0,
        "evictions": 3,
        "size_rejections": None,
        "entries": 5,
        "by_tool": {
            "search": {"hits": 1, "misses": 3, "hit_rate": 25.0},
            "buy": {"hits": 0, "misses": 0, "hit_rate": None},
        },
    }
    empty = found["cache_metrics"]["empty"]
    assert (empty["hit_rate"], empty["by_tool"]) == (None, None)

    def durations(unit: str) -> dict[str, Any]:
        return {
            f"total_{unit}": 160.0,
            f"avg_{unit}": 20.0,
            f"min_{unit}": 1.0,
            f"max_{unit}": 70.0,
            f"p50_{unit}": 10.0,
            f"p95_{unit}": 65.0,
            f"p99_{unit}": 75.0,
            "extrapolated": ["p99"],
            "window_samples": 6,
        }

    assert found["operations"][0] == {
        "side": "server",
        "method": "tools/call",
        "name": "search",
        "total_calls": 8,
        "failed_calls": 2,
        "success_rate": 75.0,
        **durations("latency_ms"),
        "error_types": {"KeyError": 2},
        "last_call_timestamp": 2345.5,
    }
    assert found["sessions"] == [
        {
            "side": "client",
            "ended_sessions": 8,
            "failed_sessions": 0,
            **durations("duration_ms"),
            "error_types": {},
            "last_end_timestamp": 2345.5,
        }
    ]


def test_the_process_is_shown_with_the_sum_of_its_tools() -> None:
    system = document()["system_metrics"]
    del system["process"]
    assert system == {
        "active_sessions": 2,
        "concurrent_requests": 5,
        "total_requests": 70,
        "start_time": 1000.0,
        "uptime_seconds": 77.0,
    }
    more = document(FIGURES._replace(requests_by_hand=9))["system_metrics"]
    assert more["concurrent_requests"] == 9


def test_a_decorated_tool_that_a_patch_counts_is_shown_once() -> None:
    by_hand = UNUSED._replace(name="search", source=catalogue.MANUAL)
    shown = document(FIGURES._replace(tools=(by_hand, TOOL)))["tool_metrics"]
    assert {name: tool["source"] for name, tool in shown.items()} == {"search": "test"}
    called = by_hand._replace(counts=TOOL.counts)
    shown = document(FIGURES._replace(tools=(called, TOOL)))["tool_metrics"]
    assert list(shown) == ["search", "search@test"]
    shown = document(FIGURES._replace(tools=(by_hand, UNUSED._replace(name="search"))))
    assert list(shown["tool_metrics"]) == ["search", "search@test"]
    unpatched = UNUSED._replace(name="search")
    shown = document(FIGURES._replace(tools=(unpatched, TOOL, by_hand)))
    assert len(shown["tool_metrics"]) == 2


def written(is_openmetrics: bool = False) -> list[str]:
    class Known(Recorder):
        def lifetime(self) -> Figures:
            return FIGURES

    text = Exposition().text(Views(Known()).families(), is_openmetrics=is_openmetrics)
    return text.decode().splitlines()


def test_the_views_of_prometheus_are_in_seconds_and_none_lies_beyond_the_longest() -> None:
    tool = 'gen_ai_tool_name="search"'
    operation = 'mcp_method_name="tools/call"'
    assert [line for line in written() if not line.startswith("#")] == [
        f'metertap_tool_latency_seconds{{{tool},quantile="0.5",source="test"}} 0.011',
        f'metertap_tool_latency_seconds{{{tool},quantile="0.95",source="test"}} 0.09',
        f'metertap_tool_latency_seconds{{{tool},quantile="0.99",source="test"}} 0.09',
        f'metertap_tool_latency_seconds_count{{{tool},source="test"}} 15.0',
        f'metertap_tool_latency_seconds_sum{{{tool},source="test"}} 0.3',
        'metertap_tool_latency_seconds_count{gen_ai_tool_name="unused",source="test"} 0.0',
        'metertap_tool_latency_seconds_sum{gen_ai_tool_name="unused",source="test"} 0.0',
        f'metertap_tool_latency_max_seconds{{{tool},source="test"}} 0.09',
        *(
            f"metertap_operation_latency_seconds{{{operation},"
            f'name="{name}",quantile="{quantile}",side="{side}"}} {seconds}'
            for side, name in (("server", "search"), ("client", ""))
            for quantile, seconds in (("0.5", 0.01), ("0.95", 0.065), ("0.99", 0.07))
        ),
        'metertap_cache_hit_ratio{cache_name="prompts",cache_system="redis"} 0.75',
    ]
    assert [line for line in written() if line.startswith("# TYPE")] == [
        "# TYPE metertap_tool_latency_seconds summary",
        "# TYPE metertap_tool_latency_max_seconds gauge",
        "# TYPE metertap_operation_latency_seconds summary",
        "# TYPE metertap_cache_hit_ratio gauge",
    ]


@pytest.mark.parametrize("is_kept", [False, True])
def test_labels_are_the_same_objects_at_each_scrape_as_long_as_they_are_there(
    is_kept: bool,
) -> None:
    class Known(Recorder):
        shown = FIGURES

        def lifetime(self) -> Figures:
            return self.shown

    recorder = Known()
    views = Views(recorder)

    def labels() -> list[int]:
        return [
            id(series.labels)
            for family in views.families(is_kept=is_kept)
            for group in family.groups
            for series in group.series
        ]

    first = labels()
    assert labels() == first
    recorder.shown = FIGURES._replace(tools=(UNUSED,), operations=(), caches=())
    assert [len(labels()) for _ in range(2)] == [1, 1]
    assert len(views._labels) == (not is_kept)


def test_only_what_has_changed_is_written_anew() -> None:
    writer = DocumentText()

    def text(figures: Figures) -> bytes:
        given: dict[str, Any] = {"enabled": True, "service": {}, "foreign": (), "alerts": None}
        return writer.of(outline(figures, **given))

    def entries() -> dict[tuple[str, str | int], object]:
        sections = writer._kept.items()
        return {(key, name): entry for key, it in sections for name, entry in it.entries.items()}

    first = text(FIGURES)
    assert json.loads(first)["tool_metrics"] == document()["tool_metrics"]
    kept = entries()
    other = TOOL._replace(sampled=24)
    second = text(FIGURES._replace(tools=(other, UNUSED), operations=(OPERATION,)))
    assert json.loads(second)["tool_metrics"]["search"]["avg_latency_ms"] == 10.0
    now = entries()
    assert now.keys() == kept.keys() - {("operations", 1)}
    changed = {key for key in now if now[key] is not kept[key]}
    assert changed == {("tool_metrics", "search")}
    writer.forget()
    assert writer._kept == {}


@pytest.mark.parametrize(("entries", "pauses"), [(19, 0), (20, 1), (45, 2)])
def test_others_run_while_many_entries_are_written(
    entries: int, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[None] = []
    monkeypatch.setattr(json_text, "pause", lambda: paused.append(None))
    tools = tuple(TOOL._replace(name=f"t{number}") for number in range(entries))
    given: dict[str, Any] = {"enabled": True, "service": {}, "foreign": (), "alerts": None}

    def pauses_of(writer: DocumentText, tools: tuple[ToolFigures, ...]) -> int:
        paused.clear()
        figures = FIGURES._replace(tools=tools, caches=(), operations=(), sessions=())
        writer.of(outline(figures, **given))
        return len(paused)

    always, writer = pauses_of(DocumentText(), ()), DocumentText()
    assert pauses_of(writer, tools) == always + pauses
    assert pauses_of(writer, tools) <= always  # no entry is written again


@pytest.mark.faults
def test_an_entry_that_cannot_be_written_is_left_out_and_told() -> None:
    odd = TOOL._replace(name="odd", total_ms=float("nan"))
    given: dict[str, Any] = {"enabled": True, "service": {}, "alerts": None}
    text = DocumentText().of(outline(FIGURES._replace(tools=(odd, TOOL)), **given))
    assert json.loads(text)["tool_metrics"].keys() == {TOOL.name}
    assert faults.fault_counts() == {"document.tool_metrics": 1}


def test_what_no_parser_reads_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_text.dumped(float("nan"))
