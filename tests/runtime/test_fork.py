"""Forked children: they count from nothing, serve for themselves, and never hang."""

from __future__ import annotations

import os

import pytest

from servers.otlp_receiver import receiver
from support.forking import ran

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.sdk,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.programs,
]

THEIR_PROVIDER = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
metrics.set_meter_provider(MeterProvider())
"""


@pytest.mark.parametrize("provider", ["", THEIR_PROVIDER], ids=["ours", "theirs"])
def test_a_child_counts_from_nothing_and_serves_for_itself(provider: str) -> None:
    program = """
tap = metertap.instrument(prometheus=True)
call(3)
before = seen(tap)

def child():
    urls = tap.json_url, tap.prometheus_url
    call(2)
    counts = seen(tap)
    return urls, counts, tap.json_url, tap.snapshot()["service"]["instance_id"]

inherited, counts, url, instance = in_child(child)
after = seen(tap)
print(json.dumps({
    "parent": [before, after], "child": counts, "inherited": inherited,
    "other url": url != tap.json_url,
    "other instance": instance != tap.snapshot()["service"].get("instance_id"),
}))
"""
    assert ran(provider + program) == {
        "parent": [[3, 3, 3, 3], [3, 3, 3, 3]],
        "child": [2, 2, 2, 2],
        "inherited": [None, None],
        "other url": True,
        "other instance": True,
    }


def test_a_child_starts_no_threads_that_ask_for_its_resource() -> None:
    found = ran("""
tap = metertap.instrument(prometheus=True)
call()
threads = "concurrent.futures.thread"  # by which the SDK asks its detectors
assert threads not in sys.modules
print(json.dumps(in_child(lambda: threads in sys.modules)))
""")
    assert found is False


def test_a_child_that_records_nothing_makes_nothing() -> None:
    found = ran("""
tap = metertap.instrument(prometheus=True)
call()
fetch(tap.pipeline.json.endpoint)
threads = in_child(lambda: [thread.name for thread in threading.enumerate()])
tools = in_child(lambda: tap.snapshot()["tool_metrics"])
print(json.dumps([threads, tools["search"]["total_calls"]]))
""")
    assert found == [["MainThread"], 0]


def test_each_worker_of_a_prefork_server_is_listed_with_an_endpoint_of_its_own() -> None:
    found = ran("""
metertap.instrument()

@metertap.tool
def search():
    pass

def worker():
    search()
    endpoint = metertap.instrument().pipeline.json.endpoint
    total = json.loads(fetch(endpoint))["tool_metrics"]["search"]["total_calls"]
    while not any(item.pid == os.getpid() for item in running.running()):
        threading.Event().wait(0.01)
    (listed,) = [item for item in running.running() if item.pid == os.getpid()]
    return [total, listed.json_url == endpoint.url, endpoint.url]

found = [in_child(worker) for _ in range(3)]
print(json.dumps([item[:2] for item in found]))
""")
    assert found == [[1, True]] * 3


def test_what_the_parent_exports_a_child_does_not_export_again() -> None:
    with receiver() as collector:
        ran(
            """
tap = metertap.instrument()
call(5)
tap.flush(60_000)
in_child(lambda: call(2), leave=sys.exit)
in_child(lambda: None, leave=sys.exit)
call(1)
print("null")
""",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_METRIC_EXPORT_INTERVAL="600000",
        )
    assert sorted(collector.calls_by_process().values()) == [2, 6]


def test_what_a_child_measures_first_in_its_exit_handlers_is_delivered() -> None:
    with receiver() as collector:
        ran(
            """
import atexit
metertap.instrument()
call(3)
in_child(lambda: atexit.register(call, 2) and None, leave=sys.exit)
print("null")
""",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_METRIC_EXPORT_INTERVAL="600000",
        )
    assert sorted(collector.calls_by_process().values()) == [2, 3]


def test_a_fork_after_the_end_is_quiet() -> None:
    with receiver() as collector:
        ran(
            """
import gc
metertap.instrument()
call()
metertap.uninstrument()
gc.collect()
print(json.dumps(in_child(lambda: None)))
""",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )


def test_children_of_multiprocessing_deliver_when_they_end() -> None:
    with receiver() as collector:
        ran(
            """
import multiprocessing
metertap.instrument()
call(5)
context = multiprocessing.get_context("fork")
for times in (2, 3):
    process = context.Process(target=call, args=(times,))
    process.start()
    process.join()
print("null")
""",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        )
    assert sorted(collector.calls_by_process().values()) == [2, 3, 5]


def test_a_provider_that_a_child_sets_gets_the_childs_counts() -> None:
    found = ran("""
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
metertap.instrument()
call(5)

def counted(reader):
    data = reader.get_metrics_data()
    (scope,) = data.resource_metrics[0].scope_metrics
    (metric,) = [item for item in scope.metrics if item.name == "gen_ai.execute_tool.duration"]
    return sum(point.count for point in metric.data.data_points)

def before_the_first_record():
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    call(2)
    return counted(reader)

def after_it():
    call(2)
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    call(1)
    return counted(reader)

print(json.dumps([in_child(before_the_first_record), in_child(after_it)]))
""")
    assert found == [2, 3]


@pytest.mark.parametrize("provider", ["", THEIR_PROVIDER], ids=["ours", "theirs"])
def test_a_child_of_a_busy_parent_does_not_hang(provider: str) -> None:
    found = ran(
        provider
        + """
tap = metertap.instrument(prometheus=True)
call()
ended = threading.Event()

def busy(work):
    while not ended.is_set():
        work()

works = [call, call, lambda: fetch(tap.pipeline.json.endpoint), tap.snapshot]
threads = [threading.Thread(target=busy, args=(work,)) for work in works]
for thread in threads:
    thread.start()

def child():
    call(2)
    return tap.snapshot()["tool_metrics"]["search"]["total_calls"]

found = [in_child(child) for _ in range(20)]
ended.set()
for thread in threads:
    thread.join()
print(json.dumps(found))
"""
    )
    assert found == [2] * 20


def test_no_thread_is_inside_the_sdk_while_the_process_forks() -> None:
    # The child would inherit a lock that nobody will release.
    assert (
        ran("""
from metertap import state

class Slow:
    in_order = is_full = True
    entered, left = threading.Event(), threading.Event()
    def record(self, *_args):
        self.entered.set()
        threading.Event().wait(0.3)
        self.left.set()

tap = metertap.instrument()
assert tap.pipeline.provider is not None  # it makes the pipeline, which has instruments of its own
state.recorder().instruments = (Slow(),)
thread = threading.Thread(target=call)
thread.start()
Slow.entered.wait()
print(json.dumps(in_child(Slow.left.is_set)))
thread.join()
""")
        is True
    )


def test_no_view_imports_anything_late() -> None:
    # A child that is forked while another thread imports cannot import that module any more.
    found = ran("""
tap = metertap.instrument(prometheus=True)
call()
tap.pipeline.process_metrics.load()  # a thread of its own does, once, and a fork waits for it
before = set(sys.modules)
tap.snapshot()
tap.pipeline.prometheus.text()
print(json.dumps(sorted(set(sys.modules) - before)))
""")
    assert found == []


def test_locks_that_the_parent_holds_are_free_in_the_child() -> None:
    # All but the recorder's, which whoever forks takes first.
    found = ran("""
from metertap import locks, state
tap = metertap.instrument(prometheus=True)
call()
fetch(tap.pipeline.json.endpoint), fetch(tap.pipeline.prometheus.endpoint)
metertap.cache_meter("prompts").hit()
holding, ended = threading.Event(), threading.Event()
held = [lock for lock in list(locks._made) if hasattr(lock, "acquire")]
held.remove(state.recorder().lock)

def hold():
    for lock in held:
        lock.acquire()
    holding.set()
    ended.wait()
    for lock in held:
        lock.release()

def child():
    free = [lock.acquire(blocking=False) for lock in held]
    for lock in held:
        lock.release()
    counts = (call(2), seen(tap))[1]
    tap.shutdown()
    with metertap.instrument() as again:
        call()
        return all(free), counts, again.snapshot()["tool_metrics"]["search"]["total_calls"]

thread = threading.Thread(target=hold)
thread.start()
holding.wait()
found = in_child(child)
ended.set()
thread.join()
print(json.dumps([len(held) > 10, found]))
""")
    assert found == [True, [True, [2, 2, 2, 2], 3]]


def test_a_collection_in_progress_ends_before_the_process_forks() -> None:
    # It holds locks of the SDK's; the child would wait for them with its next record.
    found = ran(f"""{THEIR_PROVIDER}
tap = metertap.instrument()
call()
entered = threading.Event()

def slow(_options):
    entered.set()
    threading.Event().wait(0.3)
    return ()

metrics.get_meter("slow").create_observable_gauge("slow", callbacks=[slow])
thread = threading.Thread(target=tap.snapshot)
thread.start()
entered.wait()

def child():
    call(2)
    return tap.snapshot()["tool_metrics"]["search"]["total_calls"]

print(json.dumps([in_child(child), tap.snapshot()["tool_metrics"]["search"]["total_calls"]]))
thread.join()
""")
    assert found == [2, 1]


def test_the_bulk_path_stays_in_force_in_a_child_on_the_applications_provider() -> None:
    found = ran("""
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
view = View(
    instrument_name="gen_ai.execute_tool.duration",
    attribute_keys={"gen_ai.tool.name", "metertap.outcome"},
)
tap = metertap.instrument(meter_provider=MeterProvider([InMemoryMetricReader()], views=[view]))
call(3)
tap.snapshot()

def child():
    call(3)
    tap.snapshot()
    return tap.pipeline.recording_paths()

print(json.dumps([tap.pipeline.recording_paths(), in_child(child)]))
""")
    assert found == [["bulk"], ["bulk"]]


def test_imports_of_the_pipeline_end_before_the_process_forks() -> None:
    # A child that is forked in the middle of one could never import the same.
    found = ran("""
import concurrent.futures.thread  # has a hook at forks, and is heard of if it is imported in one

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "metertap.runtime.pipeline":
            importing.set()
            threading.Event().wait(1.5)  # longer than a fork waits for anything else
        return None

importing = threading.Event()
tap = metertap.instrument(json_port=0)
sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=call)
thread.start()
assert importing.wait(20)

def child():
    call(2)
    return tap.snapshot()["tool_metrics"]["search"]["total_calls"]

found = in_child(child)
thread.join()
print(json.dumps([found, tap.snapshot()["tool_metrics"]["search"]["total_calls"]]))
""")
    assert found == [2, 1]
