"""What is reported of the process, to which readers, and what does without it."""

from __future__ import annotations

import gc
import math
import os
import sys
import threading
import time
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import faults
from metertap.cli import main
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.process import process_metrics, source
from servers.otlp_receiver import receiver
from support.http import get
from support.metric_data import points
from support.process_figures import AT_ONCE, UTILIZATION, begin, by_type, found
from support.waiting import wait_for

pytestmark = pytest.mark.sdk

system_metrics = pytest.importorskip("opentelemetry.instrumentation.system_metrics")


def test_a_reader_gets_the_process_and_nothing_of_the_host(theirs: InMemoryMetricReader) -> None:
    with metertap.instrument() as tap:
        begin(tap)
        assert found(theirs) == AT_ONCE


def test_the_figures_are_true(theirs: InMemoryMetricReader) -> None:
    with metertap.instrument(json_endpoint=False) as tap:  # whose thread may come any time
        begin(tap)
        used = time.process_time()
        seen = sum(by_type(theirs, "process.cpu.time").values())
        assert used - 0.05 <= seen <= time.process_time() + 0.05  # in ticks of a hundredth
        (memory,) = points(theirs, "process.memory.usage")
        resident = tap.snapshot()["system_metrics"]["process"]["resident_bytes"]
        assert resident / 2 < memory.value < resident * 2
        (threads,) = points(theirs, "process.thread.count")
        assert threads.value >= threading.active_count()
        before = gc.get_stats()[2]["collections"]
        gc.collect()
        collections = by_type(theirs, "cpython.gc.collections", "cpython.gc.generation")
        assert before < collections[2] <= gc.get_stats()[2]["collections"]
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
        (more,) = points(theirs, "process.open_file_descriptor.count")
        for file in files:
            os.close(file)
        (fewer,) = points(theirs, "process.open_file_descriptor.count")
        assert more.value >= fewer.value + 20


def at_least(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A machine under load may take any time from one line to the next."""
    monkeypatch.setattr(source, "_UTILIZATION_SECONDS", seconds)


def test_utilization_is_of_a_second_at_least(
    monkeypatch: pytest.MonkeyPatch, theirs: InMemoryMetricReader
) -> None:
    # Asked for the first time it would be 0.0, and at short intervals noise.
    monkeypatch.setattr(process_metrics, "_source", None)  # as in a new process
    with metertap.instrument() as tap:
        at_least(monkeypatch, math.inf)
        begin(tap)
        assert points(theirs, UTILIZATION) == []
        at_least(monkeypatch, 1.0)
        end = time.monotonic() + 1.1
        while time.monotonic() < end:
            pass
        (first,) = points(theirs, UTILIZATION)
        assert 0 < first.value <= 1
        at_least(monkeypatch, math.inf)
        (second,) = points(theirs, UTILIZATION)
        assert second.value == first.value


def test_our_prometheus_endpoint_has_each_series_once() -> None:
    with metertap.instrument(prometheus=True) as tap:
        begin(tap)
        text = get(wait_for(lambda: tap.prometheus_url) + "/metrics").body.decode()
    series = [line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"]
    ours = [
        line
        for line in series
        if line.startswith(("process_", "cpython_")) and "utilization" not in line
    ]
    assert len(ours) == len(set(ours)) == sum(AT_ONCE.values())
    assert not any(line.startswith("system_") for line in series)
    assert any(line.startswith("process_memory_usage_bytes") for line in ours)


def test_a_collector_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        with metertap.instrument() as tap:
            begin(tap)
            tap.flush(60_000)
            metric, *_ = collector.metrics("process.memory.usage")  # exported once or more
    assert [point.as_int > 0 for point in metric.sum.data_points] == [True]


def test_the_json_view_shows_no_tool_by_it() -> None:
    with metertap.instrument() as tap:
        begin(tap)
        metertap.record_tool_call("search", True, 1.0)
        assert list(tap.snapshot()["tool_metrics"]) == ["search"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("METERTAP_DISABLED_INSTRUMENTATIONS", "system_metrics"),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "redis, system_metrics"),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "*"),
    ],
)
def test_it_can_be_switched_off(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, theirs: InMemoryMetricReader
) -> None:
    monkeypatch.setenv(variable, value)
    with metertap.instrument() as tap:
        metertap.cache_meter("any").hit()
        assert "metertap-process" not in {thread.name for thread in threading.enumerate()}
        assert tap.diagnosis()["process_metrics"]["state"] == "switched off"
        assert found(theirs) == {}


def test_metrics_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch, theirs: InMemoryMetricReader
) -> None:
    monkeypatch.setattr(process_metrics, "_source", None)  # as in a new process
    monkeypatch.setenv("OTEL_PYTHON_SYSTEM_METRICS_EXCLUDED_METRICS", "cpython.*, process.disk.io")
    with metertap.instrument() as tap:
        begin(tap)
        left = {name for name in AT_ONCE if name.startswith("process.")} - {"process.disk.io"}
        assert set(found(theirs)) == left


def only_process_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off what measures libraries: `metertap doctor` would import all of them."""
    others = {library.name for library in LIBRARIES.values()} - {"system_metrics"}
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", ",".join(others))


def test_one_that_cannot_be_imported_is_one_warning_and_a_problem(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(process_metrics, "_source", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.system_metrics", None)
    with metertap.instrument() as tap:
        metertap.cache_meter("any").hit()
        report = wait_for(lambda: tap.diagnosis()["process_metrics"]["problem"])
        assert report.startswith("ModuleNotFoundError: ")
        assert faults.fault_counts() == {}
        tap.snapshot()
    (told,) = [record.getMessage() for record in caplog.records if record.name == "metertap"]
    assert told.startswith("metertap: no process metrics: ModuleNotFoundError")
    only_process_metrics(monkeypatch)
    assert main(["doctor"]) == 1
    assert "ModuleNotFoundError" in capsys.readouterr().out


def test_what_the_system_forbids_is_no_data_and_no_fault(
    monkeypatch: pytest.MonkeyPatch, theirs: InMemoryMetricReader
) -> None:
    import psutil  # type: ignore[import-untyped,unused-ignore]

    def forbidden(_self: Any) -> int:
        raise psutil.AccessDenied

    with metertap.instrument() as tap:
        begin(tap)
        monkeypatch.setattr(psutil.Process, "num_fds", forbidden)
        seen = found(theirs)
        assert set(AT_ONCE) - set(seen) == {"process.open_file_descriptor.count"}
        assert faults.fault_counts() == {}


@pytest.mark.faults
def test_one_that_breaks_is_a_fault_of_ours_and_the_rest_is_reported(
    monkeypatch: pytest.MonkeyPatch, theirs: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    import psutil

    with metertap.instrument() as tap:
        begin(tap)
        monkeypatch.setattr(psutil.Process, "num_threads", None)
        seen = found(theirs)
        assert set(AT_ONCE) - set(seen) == {"process.thread.count"}
        assert faults.fault_counts() == {"process_metrics": 1}
    assert {record.name for record in caplog.records} == {"metertap"}


def test_doctor_says_what_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_process_metrics(monkeypatch)
    assert main(["doctor", "--all"]) == 0
    out = capsys.readouterr().out
    assert "opentelemetry-instrumentation-system-metrics 0." in out
    assert "process.memory.usage" in out
