"""Programs that fork."""

from __future__ import annotations

import json
import sys
from typing import Any

from support.programs import run

# `in_child` runs a function in a forked child and returns what it returns, or what went wrong.
FORK = """
import faulthandler, json, os, sys, threading, traceback, urllib.request
import metertap
from metertap.runtime import running

def in_child(function, *, leave=os._exit):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(100, exit=True)  # a child that hangs says where
        try:
            found = function()
        except BaseException:
            found = traceback.format_exc()
        os.write(writing, json.dumps(found).encode())
        os.close(writing)
        leave(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return json.loads(said) if status == 0 else f"child ended with {status}: {said}"

def call(times=1):
    for _ in range(times):
        metertap.record_tool_call("search", True, 1.0)

def fetch(endpoint):
    with urllib.request.urlopen(endpoint.wait(60) + "/metrics", timeout=60) as answer:
        return answer.read().decode()

def seen(tap):
    # Calls by: snapshot, JSON endpoint, histogram and summary of the Prometheus endpoint
    documents = tap.snapshot(), json.loads(fetch(tap.pipeline.json.endpoint))
    counts = [document["tool_metrics"]["search"]["total_calls"] for document in documents]
    for line in fetch(tap.pipeline.prometheus.endpoint).splitlines():
        for name in ("gen_ai_execute_tool_duration", "metertap_tool_latency"):
            if line.startswith(f"{name}_seconds_count"):
                counts.append(int(float(line.rpartition(" ")[2])))
    return counts
"""


def ran(program: str, **env: str) -> Any:
    """What the program printed last, as JSON."""
    # Python 3.12 and later warn whoever forks with threads, and our endpoints are threads.
    quiet = "ignore:This process:DeprecationWarning"
    done = run(sys.executable, "-W", quiet, "-c", FORK + program, env=env)
    assert (done.status, done.told) == (0, ""), done.told
    return json.loads(done.stdout.splitlines()[-1])
