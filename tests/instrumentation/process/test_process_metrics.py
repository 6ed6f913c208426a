"""The process as metrics: in every reader once, of this process alone, and gone with the tap."""

from __future__ import annotations

import gc
import logging
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import Tap, faults
from metertap.cli import main
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.process import process_metrics, source
from servers.otlp_receiver import receiver
from support import environments
from support.forking import ran
from support.http import get
from support.metric_data import points
from support.programs import run
from support.providers import ApiProvider
from support.waiting import wait_for

pytestmark = pytest.mark.sdk

system_metrics = pytest.importorskip("opentelemetry.instrumentation.system_metrics")

UTILIZATION = "process.cpu.utilization"  # no data in the first second
AT_ONCE = {
    "process.cpu.time": 2,
    "process.memory.usage": 1,
    "process.memory.virtual": 1,
    "process.thread.count": 1,
    "process.open_file_descriptor.count": 1,
    "process.context_switches": 2,
    "process.disk.io": 2,
    "cpython.gc.collections": 3,
    "cpython.gc.collected_objects": 3,
    "cpython.gc.uncollectable_objects": 3,
}
"""How many points each has."""


@pytest.fixture(autouse=True)
def no_instrumentor_of_the_application() -> Iterator[None]:
    """It is a singleton that cannot stop."""
    system_metrics.SystemMetricsInstrumentor._instance = None
    yield
    system_metrics.SystemMetricsInstrumentor._instance = None


@pytest.fixture
def theirs() -> Iterator[InMemoryMetricReader]:
    """A reader of the application's provider, which is the global one."""
    reader, provider = set_provider()
    yield reader
    provider.shutdown()


def set_provider() -> tuple[InMemoryMetricReader, MeterProvider]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return reader, provider


def reader_of_ours(tap: Tap) -> InMemoryMetricReader:
    assert tap.pipeline.owned is not None
    reader = InMemoryMetricReader()
    tap.pipeline.owned.add_metric_reader(reader)
    return reader


def begin(tap: Tap) -> None:
    """See a first cache, and wait for what that sets off."""
    metertap.cache_meter("any").hit()
    assert tap.pipeline.process_metrics.wait(60)


def found(reader: InMemoryMetricReader, *, but: str = UTILIZATION) -> dict[str, int]:
    """How many points each metric of process or host has, over all scopes."""
    data = reader.get_metrics_data()
    counted: Counter[str] = Counter()
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name.startswith(("process.", "cpython.", "system.")):
                    counted[metric.name] += len(metric.data.data_points)
    return {name: count for name, count in counted.items() if count and name != but}


def by_type(reader: InMemoryMetricReader, name: str, label: str = "type") -> dict[Any, float]:
    return {point.attributes.get(label): point.value for point in points(reader, name)}


# What is reported, and to whom


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
        at_least(monkeypatch, 3600.0)
        begin(tap)
        assert points(theirs, UTILIZATION) == []
        at_least(monkeypatch, 1.0)
        end = time.monotonic() + 1.1
        while time.monotonic() < end:
            pass
        (first,) = points(theirs, UTILIZATION)
        assert 0 < first.value <= 1
        at_least(monkeypatch, 3600.0)
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


# Providers


def test_it_moves_to_a_provider_that_is_set_late() -> None:
    with metertap.instrument() as tap:
        begin(tap)
        ours = reader_of_ours(tap)
        assert found(ours) == AT_ONCE
        theirs, _ = set_provider()
        assert found(theirs) == AT_ONCE
        assert found(ours) == {}


def test_it_moves_before_it_is_imported() -> None:
    with metertap.instrument() as tap:
        theirs, _ = set_provider()
        begin(tap)
        assert found(theirs) == AT_ONCE


def test_a_provider_that_takes_no_readers_and_ours_both_get_it() -> None:
    api = ApiProvider()
    metrics.set_meter_provider(api)
    with metertap.instrument() as tap:
        begin(tap)
        assert found(reader_of_ours(tap)) == AT_ONCE
        seen = list(api.callbacks["cpython.gc.collections"](None))
        assert [item.value > 0 for item in seen[:1]] == [True]
    assert list(api.callbacks["cpython.gc.collections"](None)) == []


def test_a_move_does_not_hang_while_readers_collect() -> None:
    with metertap.instrument(prometheus=True) as tap:
        begin(tap)
        ours, ended = reader_of_ours(tap), threading.Event()

        def collect() -> None:
            while not ended.is_set():
                ours.get_metrics_data()
                tap.snapshot()

        threads = [threading.Thread(target=collect, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        theirs, _ = set_provider()
        assert found(theirs) == AT_ONCE
        ended.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


# Life


def test_it_ends_with_the_tap_and_comes_back_once(
    theirs: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for times in range(3):
            with metertap.instrument() as tap:
                begin(tap)
                assert found(theirs) == AT_ONCE, times
            assert found(theirs) == {}
            if times == 1:
                metertap.reset()
    assert [record.getMessage() for record in caplog.records] == []


def test_it_comes_back_on_a_provider_of_ours() -> None:
    for _ in range(2):
        with metertap.instrument() as tap:
            begin(tap)
            assert found(reader_of_ours(tap)) == AT_ONCE


def test_a_shutdown_during_the_import_leaves_nothing(theirs: InMemoryMetricReader) -> None:
    with process_metrics._loading, metertap.instrument() as tap:
        metertap.cache_meter("any").hit()
        tap.shutdown()
    assert tap.pipeline.process_metrics.wait(60)
    assert found(theirs) == {}


def test_a_dead_provider_is_not_kept_alive() -> None:
    with metertap.instrument() as tap:
        begin(tap)
        ours = weakref.ref(tap.pipeline.owned)
        set_provider()
        gc.collect()
        assert ours() is None


def test_instrument_does_not_import_it_and_a_call_does_not_wait_for_it() -> None:
    program = """
import sys, threading
import metertap
from metertap_instrumentation.process import process_metrics
with process_metrics._loading:  # as long as it takes
    tap = metertap.instrument()
    before = [name for name in sys.modules if "system_metrics" in name]
    metertap.record_tool_call("search", True, 1.0)
    during = [name for name in sys.modules if "system_metrics" in name]
assert tap.pipeline.process_metrics.wait(60)
print(before, during, "opentelemetry.instrumentation.system_metrics" in sys.modules)
"""
    done = run(sys.executable, "-c", program)
    assert (done.status, done.stdout, done.stderr) == (0, b"[] [] True\n", b"")


def test_a_program_that_ends_at_once_ends_quietly() -> None:
    program = "import metertap; metertap.instrument(); metertap.record_tool_call('a', True, 1.0)"
    for _ in range(5):
        done = run(sys.executable, "-c", program)
        assert (done.status, done.stdout, done.stderr) == (0, b"", b"")


# An application that has the instrumentor itself


@pytest.mark.parametrize("first", ["application", "metertap"])
def test_the_applications_own_is_left_alone_and_each_metric_is_there_once(
    first: str, theirs: InMemoryMetricReader
) -> None:
    if first == "application":
        system_metrics.SystemMetricsInstrumentor(labels={"of": "theirs"}).instrument()
    with metertap.instrument() as tap:
        begin(tap)
        if first == "metertap":
            assert found(theirs) == AT_ONCE
            system_metrics.SystemMetricsInstrumentor(labels={"of": "theirs"}).instrument()
        for _ in range(2):
            seen = found(theirs)
            assert {name: seen[name] for name in AT_ONCE} == AT_ONCE
            assert set(by_type(theirs, "process.cpu.time", "of")) == {"theirs"}
            assert "system.cpu.time" in seen  # the host is theirs to ask for
            system_metrics.SystemMetricsInstrumentor._instance.uninstrument()  # it goes on
        report = tap.diagnosis()["process_metrics"]
        assert (report["state"], report["metrics"]) == ("left to the application's own", [])
    assert {name: found(theirs)[name] for name in AT_ONCE} == AT_ONCE


@pytest.mark.parametrize("first", ["application", "metertap"])
def test_what_the_applications_own_was_not_asked_for_is_reported(
    first: str, theirs: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_metrics, "_source", None)  # as in a new process
    instrumentor = system_metrics.SystemMetricsInstrumentor
    config = {"process.cpu.time": ["user"]}
    if first == "application":
        instrumentor(config=config).instrument()
    with metertap.instrument() as tap:
        begin(tap)
        if first == "metertap":
            instrumentor(config=config).instrument()
        assert found(theirs) == {**AT_ONCE, "process.cpu.time": 1}
    assert found(theirs) == {"process.cpu.time": 1}


def test_an_instrumentor_that_was_made_and_not_used_changes_nothing(
    theirs: InMemoryMetricReader,
) -> None:
    made = system_metrics.SystemMetricsInstrumentor(config={"process.cpu.time": ["user"]})
    with metertap.instrument() as tap:
        begin(tap)
        assert found(theirs) == AT_ONCE
        assert not made.is_instrumented_by_opentelemetry
        assert made._config == {"process.cpu.time": ["user"]}


@pytest.mark.parametrize("disabled", [False, True], ids=["on", "disabled"])
def test_zero_code_has_each_metric_once(disabled: bool, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.distro")
    application = tmp_path / "shop.py"
    application.write_text(
        """
import os, urllib.request
import metertap
tap = metertap.instrument()
metertap.record_tool_call("search", True, 1.0)
disabled = bool(os.environ["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"])
assert tap.pipeline.process_metrics.wait(0 if disabled else 60) is not disabled
with urllib.request.urlopen(tap.pipeline.prometheus.endpoint.wait(60) + "/metrics") as answer:
    print(answer.read().decode())
""",
        encoding="utf-8",
    )
    done = run(
        str(Path(sys.executable).with_name("opentelemetry-instrument")),
        sys.executable,
        str(application),
        env={
            "OTEL_METRICS_EXPORTER": "metertap_prometheus",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "system_metrics" if disabled else "",
        },
    )
    assert done.status == 0, done.told
    lines = done.stdout.decode().splitlines()
    times = [line for line in lines if line.startswith("process_cpu_time_seconds_total{")]
    assert len(times) == (0 if disabled else 2)
    assert all('otel_scope_name="opentelemetry.' in line for line in times)


# Switched off, absent, broken


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


def test_without_the_extra_nothing_is_reported_and_nothing_is_wrong(tmp_path: Path) -> None:
    program = """
import sys, threading
import metertap
with metertap.instrument() as tap:
    metertap.record_tool_call("search", True, 1.0)
    names = [thread.name for thread in threading.enumerate()]
    assert "metertap-process" not in names, names
    assert "gc" in tap.snapshot()["system_metrics"]["process"]
    report = tap.diagnosis()
    print(report["process_metrics"]["state"], report["faults"], "psutil" in sys.modules)
"""
    python = environments.core(tmp_path / "environment")
    done = run(python, "-c", program)
    assert (done.status, done.told) == (0, "")
    assert done.stdout == b"not installed {} False\n"
    doctor = subprocess.run(
        [python, "-m", "metertap", "doctor", "--all"], capture_output=True, text=True, check=False
    )
    assert doctor.returncode == 0, doctor.stderr
    hint = r"process metrics +not installed: (uv )?pip install .*\[system\]"
    assert re.search(hint, doctor.stdout), doctor.stdout


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
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].startswith("metertap: no process metrics: ModuleNotFoundError")
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
    monkeypatch: pytest.MonkeyPatch,
    theirs: InMemoryMetricReader,
    caplog: pytest.LogCaptureFixture,
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
    others = {library.name for library in LIBRARIES.values()} - {"system_metrics"}
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", ",".join(others))  # or it imports all
    assert main(["doctor", "--all"]) == 0
    out = capsys.readouterr().out
    assert "opentelemetry-instrumentation-system-metrics 0." in out
    assert "process.memory.usage" in out


# Forks

PROGRAM = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

def value(reader, name="process.open_file_descriptor.count"):
    data = reader.get_metrics_data()
    return [
        point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics if metric.name == name
        for point in metric.data.data_points
    ]

theirs = InMemoryMetricReader()
def begin():
    call()
    assert tap.pipeline.process_metrics.wait(60)
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@needs_fork
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_child_reports_itself(whose: str) -> None:
    found = ran(
        PROGRAM
        + ("metrics.set_meter_provider(MeterProvider([theirs]))\n" if whose == "theirs" else "")
        + """
tap = metertap.instrument()
begin()

def child():
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    before = value(theirs) if tap.pipeline.owned is None else []
    call()
    reader = InMemoryMetricReader()
    (tap.pipeline.owned or tap.pipeline.provider).add_metric_reader(reader)
    count = value(reader)
    return [before, [item >= 100 for item in count]]

print(json.dumps(in_child(child)))
"""
    )
    assert found == [[], [True]]


@needs_fork
def test_a_child_that_is_forked_while_the_parent_imports_reports_itself_too() -> None:
    found = ran(
        PROGRAM
        + """
class Slow:
    entered = threading.Event()
    def find_spec(self, name, path=None, target=None):
        if name == "opentelemetry.instrumentation.system_metrics":
            Slow.entered.set()
            threading.Event().wait(0.3)

sys.meta_path.insert(0, Slow())
tap = metertap.instrument()
call()
Slow.entered.wait()

def child():
    begin()
    reader = InMemoryMetricReader()
    tap.pipeline.owned.add_metric_reader(reader)
    return len(value(reader))

print(json.dumps(in_child(child)))
"""
    )
    assert found == 1


@needs_fork
def test_a_child_of_a_parent_that_could_not_wait_does_without() -> None:
    found = ran(
        PROGRAM
        + """
from metertap_instrumentation.process import process_metrics
process_metrics._FORK_WAITS_SECONDS = 0.05
tap = metertap.instrument()

def child():
    call()
    while tap.diagnosis()["process_metrics"]["problem"] is None:
        threading.Event().wait(0.01)
    reader = InMemoryMetricReader()
    tap.pipeline.owned.add_metric_reader(reader)
    return [value(reader), tap.diagnosis()["process_metrics"]["problem"]]

with process_metrics._loading:
    found = in_child(child)
begin()
reader = InMemoryMetricReader()
tap.pipeline.owned.add_metric_reader(reader)
print(json.dumps([found, len(value(reader)), in_child(lambda: tap.diagnosis()["faults"])]))
"""
    )
    assert found == [[[], "forked while the parent imported it"], 1, {}]
