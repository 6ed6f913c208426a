"""`metertap top`: the last minutes as a line of small bars."""

from __future__ import annotations

import json
from typing import Any

import metertap
from metertap.cli.top.history import History, bars
from metertap.cli.top.readings import Readings


def document(calls: int, at: float, p95: float | None, started: float = 1000.0) -> dict[str, Any]:
    """Return a real document whose figures are changed."""
    with metertap.instrument(service_name="shop"):
        metertap.record_tool_call("search", True, 1.0)
        found: dict[str, Any] = json.loads(json.dumps(metertap.get_all_metrics()))
    found["system_metrics"] |= {"uptime_seconds": at, "start_time": started}
    found["tool_metrics"]["search"] |= {
        "total_calls": calls,
        "p95_latency_ms": p95,
        "max_latency_ms": p95,
    }
    return found


def test_each_step_has_its_rate_over_the_processs_own_time() -> None:
    readings, history = Readings(), History()
    for calls, at, p95 in (
        (10, 1.0, None),
        (20, 3.0, 5.0),
        (30, 8.0, 6.0),
        (40, 9.0, 7.0),  # the last look of a step counts
        (40, 13.0, 7.0),
        (90, 31.0, 9.0),  # nobody looked for three steps
        (91, 36.0, 9.0),
    ):
        history.add(readings.of(document(calls, at, p95)))
    assert history.calls_per_second("search") == [20 / 6, 0, None, None, None, 50 / 18, 1 / 5]
    assert history.p95_latency_ms("search") == [5.0, 7.0, 7.0, None, None, None, 9.0, 9.0]
    assert history.seconds == 33.0  # from the last look of the first step
    assert history.calls_per_second("other") == history.p95_latency_ms("other") == []


def test_a_process_that_began_anew_has_no_past() -> None:
    readings, history = Readings(), History()
    for at in (1.0, 6.0, 11.0):
        history.add(readings.of(document(int(at), at, 5.0)))
    assert len(history.p95_latency_ms("search")) == 3
    history.add(readings.of(document(1, 2.0, 8.0, started=2000.0)))
    assert history.p95_latency_ms("search") == [8.0]
    assert history.calls_per_second("search") == []


def test_it_is_bounded_and_as_long_as_looks_are_apart() -> None:
    readings, history = Readings(), History(interval=30.0)
    assert history.step_seconds == 60.0
    base = document(0, 0.0, 5.0)
    for minute in range(200):
        base["system_metrics"]["uptime_seconds"] = 60.0 * minute
        base["tool_metrics"]["search"]["total_calls"] = 30 * minute
        history.add(readings.of(json.loads(json.dumps(base))))
    assert history.calls_per_second("search") == [0.5] * 60
    assert history.p95_latency_ms("search") == [5.0] * 60


def test_bars_tell_none_from_nothing_and_nothing_from_little() -> None:
    assert bars([None, 0.0, 0.001, 50.0, 100.0]) == " ▁▂▅█"
    assert bars([0.0, 0.0]) == "▁▁"
    assert bars([]) == ""
