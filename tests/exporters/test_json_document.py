"""The JSON document: complete, in the published shape, and null where nothing is known."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import metertap
from metertap import outcomes, state
from metertap.unmocked import unmocked
from metertap_exporters.json.reader import schema
from support.checked import check

TOOL = {
    "source",
    "method",
    "total_calls",
    "total_latency_ms",
    "successful_calls",
    "failed_calls",
    "cancelled_calls",
    "caller_errors",
    "interim_results",
    "outcomes",
    "success_rate",
    "avg_latency_ms",
    "min_latency_ms",
    "max_latency_ms",
    "p50_latency_ms",
    "p95_latency_ms",
    "p99_latency_ms",
    "extrapolated",
    "window_samples",
    "active_calls",
    "error_types",
    "error_outcomes",
    "last_call_timestamp",
    "with_cache",
    "first_item",
}
UNKNOWN_BEFORE_THE_FIRST_CALL = {
    "success_rate",
    "avg_latency_ms",
    "min_latency_ms",
    "max_latency_ms",
    "p50_latency_ms",
    "p95_latency_ms",
    "p99_latency_ms",
    "last_call_timestamp",
    "with_cache",
    "first_item",
}


def checked() -> dict[str, Any]:
    """The document, after its schema and a trip through JSON found nothing wrong."""
    found = metertap.get_all_metrics()
    check(found)
    again: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    return found


def record(ended: str, count: int, name: str = "search", source: str = "manual") -> None:
    recorder = state.recorder()
    for _ in range(count):
        recorder.record_tool(recorder.tool(name, source), ended, None, 10.0)


def test_the_schema_itself_is_valid_and_describes_no_more_than_there_is() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert set(schema()["$defs"]["tool"]["required"]) == TOOL
    parts = (schema()["$defs"][name] for name in ("tool", "cache", "operation", "session"))
    for shape in (schema(), *parts):
        assert set(shape["required"]) == set(shape["properties"])


def test_an_empty_document_is_whole() -> None:
    found = checked()
    assert (found["schema_version"], found["enabled"]) == ("1.3", True)
    assert (found["tool_metrics"], found["cache_metrics"]) == ({}, {})
    assert (found["operations"], found["sessions"]) == ([], [])
    assert found["service"]["name"]
    assert abs(found["timestamp"] - time.time()) < 60


def test_what_is_not_known_before_the_first_call_is_null() -> None:
    metertap.tool(name="search")(len)
    metertap.cache_meter("prompts")
    found = checked()
    tool = found["tool_metrics"]["search"]
    assert tool.keys() == TOOL
    assert {name for name, value in tool.items() if value is None} == UNKNOWN_BEFORE_THE_FIRST_CALL
    assert tool["method"] == "exact"
    cache = found["cache_metrics"]["prompts"]
    assert {name for name, value in cache.items() if value is None} == {"hit_rate", "entries"}


def test_rates_are_of_ok_and_failed_calls_alone() -> None:
    for ended, count in (
        (outcomes.OK, 6),
        (outcomes.TOOL_ERROR, 1),
        (outcomes.EXCEPTION, 2),
        (outcomes.TIMEOUT, 3),
        (outcomes.CANCELLED, 10),
        (outcomes.CALLER_ERROR, 20),
        (outcomes.INTERIM, 30),
    ):
        record(ended, count)
    tool = checked()["tool_metrics"]["search"]
    assert tool["success_rate"] == 50.0
    assert (tool["successful_calls"], tool["failed_calls"]) == (6, 6)
    assert (tool["cancelled_calls"], tool["caller_errors"], tool["interim_results"]) == (10, 20, 30)
    assert tool["total_calls"] == sum(tool["outcomes"].values()) == 72
    assert tool["window_samples"] == 12
    assert (tool["total_latency_ms"], tool["avg_latency_ms"]) == (120.0, 10.0)


@pytest.mark.parametrize("ended", [outcomes.CANCELLED, outcomes.CALLER_ERROR, outcomes.INTERIM])
def test_without_an_ok_or_failed_call_there_is_no_rate(ended: str) -> None:
    record(ended, 3)
    assert checked()["tool_metrics"]["search"]["success_rate"] is None


def test_error_types_come_in_the_same_order_each_time() -> None:
    for kind in ("KeyError", "TypeError", "ValueError", "IndexError", "ValueError"):
        metertap.record_tool_call("search", False, 1.0, kind)
    found = checked()["tool_metrics"]["search"]["error_types"]
    assert list(found) == ["ValueError", "IndexError", "KeyError", "TypeError"]


def test_equal_names_of_several_sources_stay_apart() -> None:
    record(outcomes.OK, 1, "search", "mcp:a")
    record(outcomes.OK, 2, "search@mcp:b", "mcp:a")
    record(outcomes.OK, 3, "search", "mcp:b")
    record(outcomes.OK, 4, "search", "mcp:a")
    recorder = state.recorder()
    recorder.cache_looked_up(recorder.cache("prompts", "redis"), True, None)
    metertap.record_cache_miss("prompts")
    found = checked()
    assert {
        name: (tool["source"], tool["total_calls"]) for name, tool in found["tool_metrics"].items()
    } == {"search": ("mcp:a", 5), "search@mcp:b": ("mcp:a", 2), "search@mcp:b@mcp:b": ("mcp:b", 3)}
    assert {
        name: (cache["system"], cache["hits"]) for name, cache in found["cache_metrics"].items()
    } == {"prompts": ("redis", 1), "prompts@manual": ("manual", 0)}


def test_the_system_is_described() -> None:
    recorder = state.recorder()
    recorder.session_opened()
    recorder.session_opened()
    recorder.session_closed()
    record(outcomes.CALLER_ERROR, 2)
    threads_before = threading.active_count()  # some of an earlier test may be ending
    with metertap.measure_tool("search"), metertap.measure_tool("rank"):
        found = checked()["system_metrics"]
    assert found["active_sessions"] == 1
    assert found["concurrent_requests"] == 2
    assert found["total_requests"] == 2
    assert found["start_time"] == recorder.start_time
    assert 0 <= found["uptime_seconds"] < 60
    assert found["process"]["cpu_seconds"] > 0
    assert threading.active_count() <= found["process"]["threads"] <= threads_before
    if os.path.exists("/proc/self/statm"):
        assert found["process"]["resident_bytes"] > 1_000_000


def test_sessions_that_opened_before_a_reset_do_not_count_below_zero() -> None:
    recorder = state.recorder()
    before = recorder.session_opened()
    metertap.reset()
    recorder.session_closed(before)
    assert checked()["system_metrics"]["active_sessions"] == 0
    after = recorder.session_opened()
    recorder.session_closed(before)
    assert checked()["system_metrics"]["active_sessions"] == 1
    recorder.session_closed(after)
    assert checked()["system_metrics"]["active_sessions"] == 0


@pytest.mark.parametrize("hours", [-3, 3])
def test_uptime_is_what_passed_however_the_clock_is_set(
    hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checked()["system_metrics"]
    shown = time.time
    monkeypatch.setattr(time, "time", lambda: shown() + hours * 3600)
    after = checked()["system_metrics"]
    assert before["uptime_seconds"] <= after["uptime_seconds"] < before["uptime_seconds"] + 60
    assert after["start_time"] == before["start_time"]


def test_a_reset_and_a_fork_begin_anew() -> None:
    recorder = state.recorder()
    for begin_anew in (metertap.reset, recorder.forked):
        recorder.session_opened()
        record(outcomes.OK, 2)
        with metertap.measure_tool("search"):
            before = checked()["system_metrics"]
            assert before["concurrent_requests"] == 1
            begun = time.monotonic()
            begin_anew()
            after = checked()["system_metrics"]
            # Not begun since then, and so not counted when it ends either.
            assert (after["concurrent_requests"], after["active_sessions"]) == (0, 0)
        ended = checked()["system_metrics"]
        assert (ended["concurrent_requests"], ended["total_requests"]) == (0, 0)
        assert ended["start_time"] > before["start_time"]
        assert 0 <= ended["uptime_seconds"] <= time.monotonic() - begun


def test_collections_are_of_each_generation() -> None:
    gc.disable()
    try:
        before = checked()["system_metrics"]["process"]["gc"]
        gc.collect()
        after = checked()["system_metrics"]["process"]["gc"]
    finally:
        gc.enable()
    assert len(after) == len(gc.get_stats())
    assert [item["collections"] for item in after][-1] == before[-1]["collections"] + 1


def test_where_python_does_not_say_there_are_no_collections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(gc, "get_stats")
    assert checked()["system_metrics"]["process"]["gc"] is None


def test_resident_bytes_are_those_of_the_system() -> None:
    def of_the_system() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        [line] = [line for line in lines if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    before = of_the_system()
    found = checked()["system_metrics"]["process"]["resident_bytes"]
    after = of_the_system()
    assert 0.9 * min(before, after) <= found <= 1.1 * max(before, after)


@pytest.mark.parametrize("statm", [None, "", "1", "many pages"])
def test_where_the_system_does_not_say_there_are_no_resident_bytes(
    statm: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "statm"
    if statm is not None:
        file.write_text(statm)
    # As on systems that have another /proc, or none.
    monkeypatch.setattr(unmocked, "open", lambda _path, mode: file.open(mode))
    assert checked()["system_metrics"]["process"]["resident_bytes"] is None


def test_where_pages_have_no_size_there_are_no_resident_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sysconf")  # as on Windows
    assert checked()["system_metrics"]["process"]["resident_bytes"] is None


def test_registered_tools_stay_in_the_document_of_a_forked_child() -> None:
    """Whatever told of them will not tell again."""
    recorder = state.recorder()
    record(outcomes.OK, 3)
    metertap.record_cache_hit("prompts")
    recorder.forked()
    found = checked()
    assert found["tool_metrics"]["search"]["total_calls"] == 0
    assert found["cache_metrics"]["prompts"]["hits"] == 0


def test_a_document_is_consistent_while_calls_are_recorded() -> None:
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.0005):  # at top rate, a loaded machine would do nothing else
            record(outcomes.OK, 20)
            record(outcomes.TIMEOUT, 20)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            tool = checked()["tool_metrics"].get("search")
            if tool is not None:
                assert tool["total_calls"] == tool["successful_calls"] + tool["failed_calls"]
                assert tool["total_latency_ms"] == 10.0 * tool["total_calls"]
                assert tool["window_samples"] == min(1000, tool["total_calls"])
    finally:
        done.set()
        for thread in threads:
            thread.join()
