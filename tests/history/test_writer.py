"""A process writes its history: all of it, whatever ends or forks the process."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import catalogue, state
from metertap.history import writer
from metertap.history.file_answers import FileAnswers
from metertap.recording import Recorder
from support.forking import FORK, ran
from support.programs import NO_LIBRARIES, run, started
from support.written_history import SERVER, kept, slices


def test_calls_and_lookups_are_kept_as_they_were_counted(path: Path) -> None:
    with metertap.instrument(history=path, service_name="shop", json_port=0) as tap:
        for number in range(3000):
            metertap.record_tool_call(
                "search",
                number % 3 > 0,
                0.1 * number + 1,
                "ValueError" if number % 3 == 0 else None,
            )
            metertap.record_cache_hit("prices")
            if number % 1000 == 0:
                tap.flush()  # in the middle, and the counts go on
        metertap.record_cache_miss("prices")
        metertap.record_cache_eviction("prices")
        document = tap.snapshot()
        assert tap.diagnosis()["history"]["problem"] is None
    tool = kept(path)["search shop"]
    assert tool.outcomes == {"ok": 2000, "exception": 1000}
    assert tool.error_types == {"ValueError": 1000}
    assert tool.latency is not None
    assert tool.latency.count == 3000
    assert tool.latency.total * 1000 == pytest.approx(
        document["tool_metrics"]["search"]["total_latency_ms"], rel=1e-6
    )
    assert tool.latency.quantile(0.95) == pytest.approx((0.1 * 2849 + 1) / 1000, rel=0.01)
    cache = kept(path, "cache")["prices shop"]
    assert (cache.hits, cache.misses, cache.extra) == (3000, 1, {"evictions": 1})


def test_what_was_counted_before_is_not_of_this_history(path: Path) -> None:
    metertap.instrument(json_port=0)
    metertap.record_tool_call("search", True, 1.0)
    metertap.record_cache_hit("prices")
    metertap.uninstrument()
    with metertap.instrument(history=path, service_name="shop", json_port=0):
        metertap.record_tool_call("search", True, 1.0)
        metertap.record_cache_miss("prices")
        metertap.reset_metrics()  # takes nothing back
    assert kept(path)["search shop"].outcomes == {"ok": 1}
    cache = kept(path, "cache")["prices shop"]
    assert (cache.hits, cache.misses) == (0, 1)


def test_mcp_operations_are_kept(path: Path) -> None:
    with metertap.instrument(history=path, service_name="shop", json_port=0):
        for error in (None, None, "timeout"):
            attributes = {catalogue.MCP_METHOD: "tools/list"}
            if error:
                attributes[catalogue.ERROR_TYPE] = error
            state.recorder().record_operation(error, catalogue.SERVER_DURATION, attributes, 0.5)
    operation = kept(path, "operation")["tools/list shop"]
    assert (operation.outcomes, operation.error_types) == ({"ok": 2, "error": 1}, {"timeout": 1})
    assert operation.sketch().count == 3


def test_nothing_is_made_where_nothing_is_measured(path: Path) -> None:
    with metertap.instrument(history=path, json_port=0) as tap:
        tap.flush()
    assert not path.exists()


def test_two_services_and_two_processes_of_one_write_to_the_same_file(path: Path) -> None:
    env = {**NO_LIBRARIES, "METERTAP_HISTORY": str(path)}
    for name, version in (("shop", "1.0"), ("shop", "1.1"), ("bank", "7")):
        attributes = f"service.name={name},service.version={version}"
        done = run(
            sys.executable, "-c", SERVER, env={**env, "OTEL_RESOURCE_ATTRIBUTES": attributes}
        )
        assert done.status == 0, done.told
    found = {(each.service, each.version): each.outcomes["ok"] for each in slices(path)}
    assert found == {("shop", "1.0"): 8, ("shop", "1.1"): 8, ("bank", "7"): 8}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_process_loses_nothing(path: Path, end: signal.Signals) -> None:
    # What the history imports at its first interval may on a busy machine take longer than an end.
    program = (
        SERVER
        + """
tap.flush(60_000)
metertap.record_tool_call("search", True, 20.0)
print("there", flush=True)
time.sleep(60)
"""
    )
    env = {**NO_LIBRARIES, "METERTAP_HISTORY": str(path), "OTEL_SERVICE_NAME": "shop"}
    with started((sys.executable, "-c", program), env=env) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(end)
        assert process.wait(60) == -end
    assert kept(path)["search shop"].outcomes == {"ok": 9, "exception": 2}


def test_kill_9_loses_no_committed_interval(path: Path) -> None:
    """As `benchmarks/history.py kill` does it a hundred times."""
    program = (
        SERVER
        + """
while True:
    tap.flush(60_000)
    print(tap.diagnosis()["history"]["last_write"], flush=True)
    metertap.record_tool_call("search", True, 20.0)
"""
    )
    env = {**NO_LIBRARIES, "METERTAP_HISTORY": str(path), "OTEL_SERVICE_NAME": "shop"}
    acknowledged = 0
    for _ in range(2):
        with started((sys.executable, "-c", program), env=env) as process:
            assert process.stdout is not None
            for _ in range(20):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            acknowledged += 10 + 19 + len(process.stdout.read().splitlines())
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert sum(kept(path)["search shop"].outcomes.values()) >= acknowledged


def test_a_forked_child_writes_what_it_measures_and_the_parent_its_own(path: Path) -> None:
    program = """
tap = metertap.instrument(json_port=0)
call(3)
tap.flush()
def child():
    call(4)
    tap.flush(60_000)
    return tap.diagnosis()["history"]["problem"]
found = in_child(child)
call(5)
tap.shutdown()
print(json.dumps(found))
"""
    assert ran(program, METERTAP_HISTORY=str(path), OTEL_SERVICE_NAME="shop") is None
    with closing(FileAnswers(path)) as answers:
        found = answers.slices(since=0, until=time.time() + 1, step=1e12, by="instance")
        assert sorted(each.outcomes["ok"] for each in found) == [4, 8]


OTHER_WRITER = """
from pathlib import Path
from metertap import state
from metertap.history.store import Run, Store
from metertap.history.writer import HistoryWriter
tap = metertap.instrument(json_port=0)
call(3)
tap.flush()
path = Path(os.environ["METERTAP_HISTORY"])
other = HistoryWriter(path, 10**9, state.recorder(), dict)
def write_in_child():
    call(4)
    tap.flush(60_000)
    return tap.diagnosis()["history"]
"""


def test_a_writer_that_nobody_closed_lets_go_of_the_file_before_a_fork(path: Path) -> None:
    program = """
other.store = Store(path, 10**9)
found = in_child(write_in_child)
assert other.store is None
tap.shutdown()
print(json.dumps(found["problem"]))
"""
    assert ran(OTHER_WRITER + program, METERTAP_HISTORY=str(path), OTEL_SERVICE_NAME="s") is None
    assert sum(kept(path)["search s"].outcomes.values()) == 7


def test_a_question_of_the_page_ends_before_the_process_forks(path: Path) -> None:
    # Else the child takes the file for open: what it writes is lost when the parent closes it.
    program = """
from metertap_exporters.page.kept import _route
is_open, forks_now = threading.Event(), threading.Event()
def ask(answers, since, until, by):
    rows = answers._connection.execute("SELECT * FROM chunk, series")
    is_open.set()
    forks_now.wait(60)
    return {"rows": len(rows.fetchall())}
answered = []
question = threading.Thread(
    target=lambda: answered.append(_route(path, 7, ask)({"QUERY_STRING": ""}).status)
)
question.start()
is_open.wait(60)
os.register_at_fork(before=forks_now.set)  # the last one is called first
(told, tells), (goes_on, let_go) = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    faulthandler.dump_traceback_later(100, exit=True)
    write_in_child()
    os.write(tells, b"1")
    os.read(goes_on, 1)
    os._exit(write_in_child()["waiting_intervals"])
os.read(told, 1)
question.join()
tap.shutdown()
os.write(let_go, b"1")
print(json.dumps([os.waitpid(pid, 0)[1], answered]))
"""
    env = {"METERTAP_HISTORY": str(path), "OTEL_SERVICE_NAME": "s"}
    assert ran(OTHER_WRITER + program, **env) == [0, [200]]
    assert sum(kept(path)["search s"].outcomes.values()) == 3 + 4 + 4


@pytest.mark.parametrize("held", ["other._writing", "forks.reading"])
def test_a_child_leaves_alone_what_its_parent_had_open(path: Path, held: str) -> None:
    program = f"""
from metertap.history import forks
with {held}:
    found = in_child(write_in_child)
call(5)
tap.shutdown()
print(json.dumps([found["problem"], found["waiting_intervals"]]))
"""
    env = {"METERTAP_HISTORY": str(path), "OTEL_SERVICE_NAME": "s"}
    done = run(sys.executable, "-W", "ignore", "-c", FORK + OTHER_WRITER + program, env=env)
    problem, waiting = json.loads(done.stdout.splitlines()[-1])
    assert problem.endswith("a parent process had it open when it forked")
    assert waiting == 1
    assert done.told.count("history cannot be written") == 1
    assert sum(kept(path)["search s"].outcomes.values()) == 8


def test_one_thread_writes_until_the_end(path: Path) -> None:
    alone = writer.HistoryWriter(path, 1_000_000, Recorder(), dict)
    alone._begin()
    thread = alone._thread
    assert thread is not None
    alone._begin()
    assert alone._thread is thread
    alone.close(time.monotonic() + 60)
    thread.join(60)
    assert not thread.is_alive()
    ended = writer.HistoryWriter(path, 1_000_000, Recorder(), dict)
    ended.end()
    ended._begin()
    assert ended._thread is None


def test_threads_that_record_meanwhile_lose_nothing(path: Path) -> None:
    def call(_: Any) -> None:
        for _ in range(2500):
            metertap.record_tool_call("search", True, 1.0)

    tap = metertap.instrument(history=path, service_name="shop", json_port=0)
    with tap, ThreadPoolExecutor(4) as pool:
        done = pool.map(call, range(4))
        for _ in range(10):
            tap.flush(60_000)
        list(done)
    assert kept(path)["search shop"].outcomes == {"ok": 10_000}


def test_what_models_cost_and_results_weigh_is_kept(path: Path) -> None:
    with metertap.instrument(history=path, service_name="shop", json_port=0) as tap:
        recorder = state.recorder()
        for _ in range(2):
            metertap.record_tool_call("search", True, 1.0)
            with recorder.lock:
                usage = recorder.usage("search", "openai", "gpt")
                usage.calls += 1
                usage.input_tokens += 100
                usage.output_tokens += 10
                usage.spent += Decimal("0.25")
            tap.flush()
        for size in (1000, 500, -1):
            recorder.weight("search", catalogue.MANUAL).record(size)
    assert kept(path)["search shop"].extra == {
        "model_calls": 2,
        "input_tokens": 200,
        "output_tokens": 20,
        "cost_usd": 0.5,
        "results": 2,
        "result_bytes": 1500,
    }
