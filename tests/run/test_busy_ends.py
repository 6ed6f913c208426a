"""Starts and ends that several threads are in, and a program that takes the place of another.

These are rows of the table in docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from servers.otlp_receiver import receiver
from support.endings import CALLS, to
from support.programs import METERTAP, ended, run, started

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="these are the ends that POSIX has"),
    pytest.mark.interpreter,
    pytest.mark.programs,
]

FIRST = f"""
import sys, threading
sys.setswitchinterval(1e-5)
count = 6
begin = threading.Barrier(count)
taps = []

def works():
    begin.wait()
    import metertap
    {{tap}}
    taps.append(metertap.instrument())

    @metertap.tool(name="search")
    def search():
        pass

    for _ in range({CALLS} // count):
        search()

threads = [threading.Thread(target=works) for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(set(taps)) == 1
"""


@pytest.mark.parametrize("measured", ["instrument", "run"])
def test_threads_that_import_and_instrument_first_at_the_same_time_lose_nothing(
    measured: str, tmp_path: Path
) -> None:
    before = [METERTAP, "run", "--"] if measured == "run" else []
    (tmp_path / "shop.py").write_text(FIRST.format(tap=""))
    for _ in range(4):
        with receiver() as collector:
            found = run(*before, sys.executable, str(tmp_path / "shop.py"), env=to(collector))
        assert (found.status, found.told) == (0, "")
        assert sum(collector.calls_by_process().values()) == CALLS


DAEMONS = f"""
import os, sys, threading, metertap
{{tap}}
sys.setswitchinterval(0.05)  # a push takes the interpreter so often that it would last seconds

@metertap.tool
def search():
    pass

class Forever:
    def __del__(self):
        search()  # while Python takes down the modules

cache = metertap.cache_meter("prices")
kept = Forever()
kept.itself = kept

def works():
    while True:
        with metertap.measure_tool("other"):
            cache.hit()

for _ in range(2):
    threading.Thread(target=works, daemon=True).start()
for _ in range({CALLS}):
    search()
{{end}}
"""


@pytest.mark.parametrize(
    "end", ["sys.exit(3)", "raise KeyboardInterrupt", "os.kill(os.getpid(), 15)"]
)
@pytest.mark.parametrize("measured", ["instrument", "run"])
def test_daemon_threads_that_record_while_python_ends_change_no_end(
    measured: str, end: str, tmp_path: Path
) -> None:
    before = [METERTAP, "run", "--"] if measured == "run" else []
    tap = "metertap.instrument()" if measured == "instrument" else ""
    (tmp_path / "shop.py").write_text(DAEMONS.format(tap=tap, end=end))
    for _ in range(2):
        with receiver() as collector:
            found = run(*before, sys.executable, str(tmp_path / "shop.py"), env=to(collector))
        assert found.status == {"s": 3, "r": -2, "o": -15}[end[0]], found.told
        assert "metertap" not in found.told.replace("import metertap", "")
        calls = collector.tool_calls()
        assert sum(count for (tool, _), count in calls.items() if tool == "search") == CALLS


LATE = """
import os, sys, threading, time, metertap
{tap}
metertap.record_tool_call("search", True, 1.0)

def works():
    time.sleep(0.3)
    os.write(1, b"ended")

threading.Thread(target=works, name="metertap-late", daemon=True).start()
sys.exit(3)
"""


def test_threads_of_metertap_end_before_python_does(tmp_path: Path) -> None:
    # One that woke up while Python finalises would end the process where no file can be opened.
    (tmp_path / "shop.py").write_text(LATE.format(tap="metertap.instrument()"))
    found = run(sys.executable, str(tmp_path / "shop.py"))
    assert (found.status, found.stdout) == (3, b"ended")


TAKES_ITS_PLACE = f"""
import os, sys, time, metertap
tap = metertap.instrument()

@metertap.tool
def search():
    pass

for _ in range({CALLS}):
    search()
while tap.json_url is None:
    time.sleep(0.01)
print(tap.json_url, flush=True)
if len(sys.argv) == 1:
    tap.flush(60_000)
    os.execv(sys.executable, [sys.executable, sys.argv[0], "again"])
sys.stdin.read()
"""


def test_a_program_that_executes_another_leaves_it_the_port_and_its_place_in_the_listing(
    tmp_path: Path, free_port: int
) -> None:
    (tmp_path / "shop.py").write_text(TAKES_ITS_PLACE)
    with receiver() as collector:
        env = {**to(collector), "METRICS_JSON_PORT": str(free_port)}
        with started([sys.executable, str(tmp_path / "shop.py")], env=env) as process:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{free_port}\n".encode()
            assert [process.stdout.readline() for _ in range(2)] == [url, url]
            shown = json.loads(run(METERTAP, "snapshot", "--json").stdout)
            assert sum(collector.calls_by_process().values()) == CALLS
            collector.requests.clear()
            found = ended(process)
    assert (found.status, found.told) == (0, "")
    documents = shown if isinstance(shown, list) else [shown]
    assert [item["tool_metrics"]["search"]["total_calls"] for item in documents] == [CALLS]
    assert sum(collector.calls_by_process().values()) == CALLS
