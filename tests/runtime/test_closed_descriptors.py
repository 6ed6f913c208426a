"""Programs that close all descriptors: the next files are theirs alone, and are not spoiled."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from servers.otlp_receiver import receiver
from support.programs import NO_LIBRARIES, run

pytestmark = pytest.mark.programs

PROGRAM = """
import json, os, sys, time, urllib.request
import metertap

tap = metertap.instrument(json_port=0, history=sys.argv[1], prometheus=True)

@metertap.tool
def search(number):
    return number

def wait_for_threads():
    # What one does at the very moment cannot be taken back: a number is its own until it is used.
    idle = 0
    while idle < 5:
        time.sleep(0.02)
        tasks = [f"/proc/self/task/{task}/stat" for task in os.listdir("/proc/self/task")]
        states = [open(task).read().rpartition(")")[2].split()[0] for task in tasks]
        idle = idle + 1 if states.count("S") == len(states) - 1 else 0

search(1)
tap.flush(60_000)
for address in (tap.json_url, tap.prometheus_url):
    urllib.request.urlopen(address + "/metrics").read()
if sys.argv[2] == "fork":
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    search(2)
wait_for_threads()
os.closerange(3, 256)
files = [open(f"{number}.data", "w+b", buffering=0) for number in range(24)]
for file in files:
    file.write(b"the program's own")
began = time.process_time()
for _ in range(4):
    time.sleep(0.4)
    search(3)
idle = time.process_time() - began
tap.flush(1_000)
tap.shutdown()
spoiled = []
for file in files:
    try:
        file.seek(0)
        if file.read() != b"the program's own":
            spoiled.append(file.name)
    except OSError as error:
        spoiled.append(repr(error))
print(json.dumps([spoiled, idle < 0.5]), flush=True)
metertap.instrument(json_port=0, history=sys.argv[1])
search(4)
"""


@pytest.mark.parametrize("where", ["here", "fork"])
def test_files_of_a_program_that_closed_all_descriptors_are_not_written_to_or_closed(
    where: str, tmp_path: Path
) -> None:
    history = str(tmp_path / "history.db")
    with receiver() as collector:
        env = {
            **NO_LIBRARIES,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }
        done = run(sys.executable, "-c", PROGRAM, history, where, env=env, cwd=tmp_path)
    assert done.status == 0, done.told
    assert json.loads(done.stdout) == [[], True]
    assert "Traceback" not in done.told
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.data"))] == [
        b"the program's own"
    ] * 24
