"""A program that gevent patches after `instrument()`: threads of metertap stay threads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from servers.otlp_receiver import receiver
from support.programs import run

pytestmark = pytest.mark.programs

PROGRAM = """
import json, sys, threading, time, urllib.request
import metertap

tap = metertap.instrument(
    json_port=0, prometheus=True, prometheus_port=0, announce=False, history=sys.argv[1]
)
from gevent import monkey
monkey.patch_all()
from gevent.pool import Pool

@metertap.tool
def search(number):
    time.sleep(0.001)
    return number

def answer(number):
    search(number)
    url = tap.prometheus_url if number % 2 else tap.pipeline.json.endpoint.wait(60)
    return urllib.request.urlopen(url + "/metrics", timeout=60).status

total = sum(Pool(50).map(search, range(300)))
thread = threading.Thread(target=search, args=(300,))
thread.start()
thread.join()
while tap.prometheus_url is None:
    time.sleep(0.01)
answers = Pool(8).map(answer, range(100))
shown = tap.snapshot()["tool_metrics"]["search"]
tap.flush(60_000)
print(json.dumps([total, set(answers) == {200}, shown["total_calls"], shown["active_calls"]]))
sys.exit(5)
"""


def test_every_call_is_counted_and_every_view_answers(tmp_path: Path) -> None:
    with receiver() as collector:
        done = run(
            *(sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "history.db")),
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint},
        )
    assert (done.status, done.told) == (5, ""), done.told
    assert json.loads(done.stdout) == [44850, True, 401, 0]
    assert collector.tool_calls() == {("search", "ok"): 401}


BESIDE = """
import gc, json, os, sys, threading, time, urllib.request
from wsgiref.util import setup_testing_defaults
import metertap

tap = metertap.instrument(json_port=0, prometheus=False, announce=False)
from gevent import monkey
monkey.patch_all()
from gevent.hub import Hub
from gevent.pool import Pool
from opentelemetry.metrics import _internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult, MetricExporter, PeriodicExportingMetricReader
)
from metertap.threads import PlainThread

app = metertap.wsgi_app()


class Slow(MetricExporter):
    def export(self, data, timeout_millis=0, **named):
        time.sleep(0.1)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=0):
        return True

    def shutdown(self, timeout_millis=0, **named):
        pass

for number in range(150):  # more than are looked at between two pauses
    metertap.record_tool_call(f"tool {number}", True, 1.0)
tap.snapshot()

provider = MeterProvider([PeriodicExportingMetricReader(Slow(), 3_600_000)])
provider.get_meter("own").create_counter("sold").add(1)
flushed = Pool(2).map(lambda _: provider.force_flush(), range(2))

def mounted(_):
    environ = {"PATH_INFO": "/metrics"}
    setup_testing_defaults(environ)
    statuses = []
    list(app(environ, lambda status, headers, error=None: statuses.append(status)))
    return statuses

mounted = Pool(4).map(mounted, range(8))

def answer(_):
    return urllib.request.urlopen(tap.json_url + "/metrics", timeout=60).status

def descriptors():
    return len(os.listdir("/dev/fd"))

Pool(4).map(answer, range(20))
before = descriptors()
answers = Pool(4).map(answer, range(60))
more = descriptors() - before

started = time.monotonic()
thread = PlainThread(target=str)
thread.start()
thread.join(60)
joined = time.monotonic() - started

# A hub in a thread of metertap's has descriptors, and two that are made at once may hang.
hubs = sum(isinstance(found, Hub) for found in gc.get_objects())

tap.shutdown()
is_back = _internal.Lock is threading.Lock
print(json.dumps([flushed, mounted, set(answers) == {200}, more < 15, joined < 50, hubs, is_back]))
"""


def test_readers_pages_and_threads_of_both_go_on() -> None:
    done = run(sys.executable, "-W", "ignore", "-c", BESIDE)
    assert (done.status, done.told) == (0, ""), done.told
    ok = ["200 OK"]
    assert json.loads(done.stdout) == [[True, True], [ok] * 8, True, True, True, 1, True]
