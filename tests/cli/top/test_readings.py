"""Two documents of a process together: rates, and what is new."""

from __future__ import annotations

import json

import pytest

import metertap
from metertap.cli.top.readings import Readings


def test_rates_are_differences_over_the_documents_own_time() -> None:
    with metertap.instrument(service_name="shop"):
        metertap.record_tool_call("search", True, 1.0)
        metertap.cache_meter("prompts").hit()
        base = metertap.get_all_metrics()
    readings = Readings()

    def read(calls: int, lookups: int, at: float, started: float = 1000.0) -> tuple[object, ...]:
        document = json.loads(json.dumps(base))
        document["system_metrics"] |= {"uptime_seconds": at, "start_time": started}
        document["tool_metrics"]["search"]["total_calls"] = calls
        document["cache_metrics"]["prompts"]["total_requests"] = lookups
        reading = readings.of(document)
        return (
            reading.began_anew,
            reading.tools[0].calls_per_second,
            reading.caches[0].lookups_per_second,
        )

    assert read(10, 100, 50.0) == (False, None, None)
    assert read(20, 100, 54.0) == (False, 2.5, 0.0)
    assert read(20, 103, 56.0) == (False, 0.0, 1.5)
    assert read(3, 4, 1.0, started=2000.0) == (True, None, None)  # another process
    assert read(7, 4, 3.0, started=2000.0) == (False, 2.0, 0.0)
    assert read(7, 4, 3.0, started=2000.0) == (False, None, None)  # the same document
    assert read(1, 1, 4.0, started=2000.0) == (False, None, None)  # less than before is no rate


def test_a_tool_that_appears_between_two_looks_began_at_none() -> None:
    readings = Readings()
    with metertap.instrument():
        metertap.record_tool_call("first", True, 1.0)
        before = metertap.get_all_metrics()
        readings.of(before)
        metertap.record_tool_call("second", False, 1.0, "KeyError")
        after = metertap.get_all_metrics()
    uptime = before["system_metrics"]["uptime_seconds"]
    after["system_metrics"]["uptime_seconds"] = uptime + 2.0
    found = {tool.name: tool for tool in readings.of(after).tools}
    assert found["second"].calls_per_second == pytest.approx(0.5)
    assert found["second"].failed_lately is True
    assert found["first"].failed_lately is False
