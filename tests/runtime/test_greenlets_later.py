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
