"""Records of threads and tasks that come while the first one wakes what counts them: none is lost.

Each way of recording is used by all threads at once. Whoever is first to wake something is held
there until the others have ended, as slow imports would hold it: so what is lost shows in each run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.forking import FORK, ran
from support.programs import RUN, run

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.programs,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]

ENV = {
    "PYTHONPATH": str(Path(__file__).parents[1]),
    "METRICS_JSON_PORT": "0",
    "PROMETHEUS_ENABLED": "true",
    "PROMETHEUS_PORT": "0",
    "METERTAP_ANNOUNCE": "false",
}
WAYS = """
import asyncio, importlib
import cachetools
from metertap import state

THREADS, TIMES = 6, 5
SECONDS = 60

def is_awake():
    return "opentelemetry.sdk.metrics" in sys.modules

@metertap.tool
def search():
    pass

@metertap.tool
async def find():
    pass

@metertap.tool
def pages():
    yield 1

cache = cachetools.LRUCache(8)
cache["there"] = 1
clients = {}
prompts = metertap.cache_meter("prompts")

def tool(): search()
async def task(): await find()
def generator(): list(pages())
def record(): metertap.record_tool_call("by_hand", True, 1.0)
def failed(): metertap.record_tool_call("by_hand", False, 1.0, "KeyError")
def cached(): cache["there"]
def missed(): cache.get("not there")
def hit(): prompts.hit()
def miss(): metertap.record_cache_miss("prompts")
def session(): state.recorder().session_opened()
def usage(): metertap.record_usage(provider="p", model="m", input_tokens=3, seconds=0.1)

def block():
    with metertap.measure_tool("by_block"):
        pass

async def tasks(work):
    await asyncio.gather(*(work() for _ in range(TIMES)))

async def requests():
    from servers.mcp_stacks import of_this_sdk

    async def handle(name):
        return "done"

    stacks = of_this_sdk()
    async with stacks.connect(stacks.dispatcher("shop", handle, [["anything"]])) as session:
        for _ in range(TIMES):
            await session.call_tool("anything", {})

def calls(name, *parts):
    return lambda document: [document["tool_metrics"][name]["total_calls"]]

def lookups(name, what):
    return lambda document: [document["cache_metrics"][name][what]]

def used(document):
    return [sum(model["calls"] for model in document["cost_metrics"]["models"])]

def asked(document):
    servers = [item for item in document["operations"] if item["side"] == "server"]
    return [
        sum(tool["total_calls"] for tool in document["tool_metrics"].values()),
        sum(item["total_calls"] for item in servers if item["method"] == "tools/call"),
        sum(
            tool["results"]["weighed"]
            for tool in document["weight_metrics"]["tools"].values()
            if tool["side"] == "server"
        ),
    ]

TOOL = "gen_ai_execute_tool_duration_seconds_count{"
CACHE = "cache_requests_total{"
SERVER = 'mcp_server_operation_duration_seconds_count{'
SIZES = 'metertap_tool_result_size_bytes_count{'
# How something is recorded, how often the document says so, and the counters of Prometheus.
WAYS = {
    "tool": (tool, calls("search"), [TOOL]),
    "generator": (generator, calls("pages"), [TOOL]),
    "block": (block, calls("by_block"), [TOOL]),
    "record": (record, calls("by_hand"), [TOOL]),
    "failed": (failed, calls("by_hand"), [TOOL]),
    "cached": (cached, lookups("__main__.cache", "hits"), [CACHE]),
    "missed": (missed, lookups("__main__.cache", "misses"), [CACHE]),
    "hit": (hit, lookups("prompts", "hits"), [CACHE]),
    "miss": (miss, lookups("prompts", "misses"), [CACHE]),
    "session": (session, lambda document: [document["system_metrics"]["active_sessions"]], []),
    "usage": (usage, used, ["gen_ai_client_operation_duration_seconds_count{"]),
    "task": (lambda: asyncio.run(tasks(task)), calls("find"), [TOOL]),
    "requests": (lambda: asyncio.run(requests()), asked, [TOOL, SERVER, SIZES]),
}
IN_LOOPS = {"task", "requests"}
'''Ways that record as often as they shall by themselves.'''

def together(work, times):
    '''Work in all threads at once. Returns whether others had to wait for the first.'''
    begin, others = threading.Barrier(THREADS), threading.Semaphore(0)
    first, blocked = threading.Lock(), []

    def hold():
        if first.acquire(blocking=False):
            if not all(others.acquire(timeout=SECONDS) for _ in range(THREADS - 1)):
                blocked.append("others waited for the first")

    def body():
        begin.wait()
        for _ in range(times):
            work()
        others.release()

    state.recorder().on_record(hold)
    threads = [threading.Thread(target=body) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state.recorder().forget_record_callback(hold)
    return blocked

def exposed(tap, name):
    lines = fetch(tap.pipeline.prometheus.endpoint).splitlines()
    lines = [line for line in lines if line.startswith(name)]
    if name == SERVER:
        lines = [line for line in lines if '"tools/call"' in line]
    if name == SIZES:
        lines = [line for line in lines if '"server"' in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)

def lost(way):
    '''What is wrong with the figures of all threads; nothing, if all is well.'''
    work, in_document, counters = WAYS[way]
    wrong = together(work, 1 if way in IN_LOOPS else TIMES)
    tap = metertap.instrument()
    expected = THREADS * TIMES
    wrong += [n for n in in_document(tap.snapshot()) if n != expected]
    wrong += [(name, n) for name in counters if (n := exposed(tap, name)) != expected]
    return wrong
"""


def test_nothing_is_lost_while_the_first_record_wakes_the_pipeline() -> None:
    """In a process that is asleep, that was forked from one that is, or that was reset."""
    ways = "tool", "cached", "miss", "session", "task"
    found = ran(
        WAYS
        + f"""
metertap.instrument()
assert not is_awake()
asleep = {{way: in_child(lambda: lost(way)) for way in {ways}}}
assert not is_awake()
first = lost("missed")
assert is_awake()

def again(way):
    metertap.reset()
    metertap.instrument()
    return lost(way)

awake = {{way: in_child(lambda: lost(way)) for way in WAYS}}
print(json.dumps([asleep, first, awake, {{way: again(way) for way in WAYS}}]))
""",
        **ENV,
    )
    asleep, first, awake, reset = found
    assert asleep == {way: [] for way in ways}
    assert first == []
    assert set(map(tuple, awake.values())) == set(map(tuple, reset.values())) == {()}, found


def test_nothing_is_lost_while_the_first_record_wakes_what_run_measures(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        FORK
        + WAYS
        + """
assert not is_awake()
found = [in_child(lambda: lost("missed"))]
assert not is_awake()
print(json.dumps([*found, lost("cached")]))
"""
    )
    quiet = "ignore:This process:DeprecationWarning"
    done = run(*RUN, sys.executable, "-W", quiet, str(program), env=ENV)
    assert (done.status, done.told, done.stdout) == (0, "", b"[[], []]\n")


def test_calls_that_go_on_while_the_pipeline_is_made_are_in_its_histograms() -> None:
    found = ran(
        WAYS
        + """
class Busy:
    '''More calls come from another thread than are kept for a provider that is set later.'''

    def find_spec(self, name, path=None, target=None):
        if name == "metertap.runtime.pipeline":
            thread = threading.Thread(target=lambda: [search() for _ in range(30_000)])
            thread.start()
            thread.join()
        return None

metertap.instrument()
sys.meta_path.insert(0, Busy())

def child():
    search()
    tap = metertap.instrument()
    counted = tap.snapshot()["tool_metrics"]["search"]["total_calls"]
    return [counted, exposed(tap, TOOL)]

print(json.dumps([in_child(child), child()]))
""",
        **ENV,
    )
    assert found == [[30_001, 30_001]] * 2


def test_what_is_found_while_everything_is_forgotten_is_not_kept() -> None:
    """As by a thread that looks up what counts, while another one calls `reset()`."""
    found = ran(
        WAYS
        + """
def begin():
    metertap.reset()
    metertap.instrument(json_endpoint=False)

def new(way):
    work, in_document, _ = WAYS[way]
    begin()
    begins = iter([begin])
    state.recorder().on_activity(lambda: next(begins, int)())
    work()  # while this looks up where it is counted, everything begins again
    work()
    before = in_document(metertap.get_all_metrics())
    work()
    return [now - n for n, now in zip(before, in_document(metertap.get_all_metrics()))]

print(json.dumps({way: new(way) for way in WAYS if way not in IN_LOOPS}))
""",
        **ENV,
    )
    assert set(map(tuple, found.values())) == {(1,)}, found
