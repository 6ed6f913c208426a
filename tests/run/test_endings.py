"""Every way in which a process ends: what reaches a collector, and that the end is the program's.

These are the rows of the table in docs/reliability.md.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from metertap.history.file_answers import FileAnswers
from metertap.history.store import Store
from servers.otlp_receiver import hanging_collector, receiver
from support.endings import CALLS, ENDINGS, PRELUDE, Ending, end, to
from support.programs import METERTAP, ended, started
from support.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="these are the ends that POSIX has"),
    pytest.mark.programs,
]
SENT_BY_ANOTHER = "subprocess.run(['sh', '-c', 'kill -{} $PPID']); time.sleep(60)"


def calls_in(history: Path) -> int:
    """Count the calls that a history has."""
    with closing(FileAnswers(history)) as answers:
        found = answers.slices(since=0, until=time.time() + 60, step=10**12, kinds=["tool"])
        return sum(piece.calls for piece in found)


@pytest.fixture(params=["instrument", "run"])
def program_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[str]]:
    """Writes a program that measures itself, or is measured by `metertap run --children`."""

    def write(code: str) -> list[str]:
        instruments = request.param == "instrument"
        text = PRELUDE.format(instrument="metertap.instrument()" if instruments else "") + code
        (tmp_path / "shop.py").write_text(text)
        run = [] if instruments else [METERTAP, "run", "--children", "--"]
        return [*run, sys.executable, str(tmp_path / "shop.py")]

    return write


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_all_calls_arrive_and_the_end_is_the_programs(
    ending: Ending, program_of: Callable[[str], list[str]], tmp_path: Path, free_port: int
) -> None:
    """What a history keeps, and workers of one port, change nothing about an end, and lose none."""
    history = tmp_path / "history.db"
    env = {"METERTAP_HISTORY": str(history), "METRICS_JSON_PORT": str(free_port)}
    with receiver() as collector:
        found = end(program_of(ending.code), ending, **to(collector), **env)
    assert found.status == ending.status, found.told
    assert sum(collector.calls_by_process().values()) == CALLS
    assert calls_in(history) == CALLS
    assert "metertap" not in found.told.replace("import metertap", "").replace("metertap.tool", "")


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_the_end_is_the_same_unmeasured(ending: Ending, tmp_path: Path) -> None:
    text = (
        PRELUDE.format(instrument="").replace("import metertap", "").replace("@metertap.tool", "")
    )
    (tmp_path / "shop.py").write_text(text + ending.code)
    assert end([sys.executable, str(tmp_path / "shop.py")], ending).status == ending.status


@pytest.mark.parametrize("what", ["a history that is locked", "a collector that hangs"])
@pytest.mark.parametrize("ending", [ENDINGS[0], ENDINGS[6]], ids=str)
def test_where_one_of_two_places_hangs_the_other_gets_all(
    ending: Ending, what: str, tmp_path: Path
) -> None:
    history = tmp_path / "history.db"
    Store(history, 10**6).close()
    text = PRELUDE.format(instrument="metertap.instrument()") + ending.code
    (tmp_path / "shop.py").write_text(text)
    program = [sys.executable, str(tmp_path / "shop.py")]
    env = {"METERTAP_HISTORY": str(history), "METRICS_JSON_PORT": "0"}
    if what == "a collector that hangs":
        with hanging_collector() as endpoint:
            env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
            assert end(program, ending, **env).status == ending.status
        assert calls_in(history) == CALLS
        return
    with receiver() as collector, closing(sqlite3.connect(history)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        assert end(program, ending, **to(collector), **env).status == ending.status
    assert sum(collector.calls_by_process().values()) == CALLS


@pytest.mark.parametrize(
    "sudden",
    [
        "os.abort()",
        "os.execv(sys.executable, [sys.executable, '-c', 'import sys; sys.exit(9)'])",
        *map(SENT_BY_ANOTHER.format, ("KILL", "USR1")),
        # A shell that starts the tests in the background has it ignored.
        "signal.signal(signal.SIGQUIT, signal.SIG_DFL); " + SENT_BY_ANOTHER.format("QUIT"),
    ],
)
def test_a_sudden_end_loses_what_came_after_the_last_export(
    sudden: str, program_of: Callable[[str], list[str]]
) -> None:
    command = program_of(f"work(); ready(lambda: sys.stdin.read()); work(); {sudden}")
    with receiver() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        with started(command, env=env) as process:
            wait_for(lambda: sum(collector.calls_by_process().values()) == CALLS, 60)
            status = ended(process).status
    assert status in {9, -signal.SIGABRT, -signal.SIGKILL, -signal.SIGUSR1, -signal.SIGQUIT}
    assert sum(collector.calls_by_process().values()) == CALLS


def test_a_handler_below_python_is_kept(tmp_path: Path) -> None:
    # Only the operating system knows of it; Python says that the signal has its default action.
    path = tmp_path / "shop.py"
    first = "import faulthandler, signal; faulthandler.register(signal.SIGHUP)\n"
    path.write_text(first + PRELUDE.format(instrument="metertap.instrument()") + "work(); ready()")
    command = [sys.executable, str(path)]
    with receiver() as collector, started(command, env=to(collector)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert b"most recent call first" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert ended(process).status == -signal.SIGTERM
    assert sum(collector.calls_by_process().values()) == CALLS


def test_a_number_that_is_no_signal_is_told_by_the_programs_own_error_alone() -> None:
    code = """
import os, signal, metertap
metertap.instrument()
for send in (signal.raise_signal, lambda number: os.kill(os.getpid(), number)):
    for number in (9999, -1, "15", [15]):
        try:
            send(number)
        except (OSError, TypeError, ValueError) as error:
            print(type(error).__name__)
"""
    with receiver() as collector:
        done = [
            subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, check=True)
            for text, env in (
                (code, {**os.environ, **to(collector)}),
                (code.replace("metertap.instrument()", ""), dict(os.environ)),
            )
        ]
    assert done[0].stdout == done[1].stdout
    assert done[0].stderr == b""


def test_a_tap_that_is_shut_down_leaves_the_ends_as_they_were() -> None:
    code = """
import _signal, os, signal, metertap
def ends():
    functions = signal.raise_signal, signal.signal, signal.getsignal, os._exit, os.kill
    # What handles a signal is told by what is below the functions that hide it.
    return [_signal.getsignal(number) for number in (15, 1)], list(map(id, functions))
before = ends()
tap = metertap.instrument()
during = ends()
tap.shutdown()
print(before == ends() != during)
"""
    with receiver() as collector:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **to(collector)},
            capture_output=True,
            check=True,
        )
    assert done.stdout == b"True\n"


NO_FILES_LEFT = """
import os, resource, socket, sys, time, metertap
tap = metertap.instrument()
with metertap.measure_tool("search"):
    pass
while tap.json_url is None:
    time.sleep(0.01)
client = socket.socket()
port = int(tap.json_url.rsplit(":", 1)[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
kept = []
try:
    while True:
        kept.append(os.open("/dev/null", 0))
except OSError:
    pass
if sys.argv[1] == "client":
    client.connect(("127.0.0.1", port))
    time.sleep(0.3)
sys.exit(3)
"""


@pytest.mark.parametrize("waits", ["nobody", "client"])
def test_a_process_without_file_descriptors_ends_by_itself(waits: str) -> None:
    # A thread of ours that is alive while Python finalises would end it with SIGABRT.
    command = [sys.executable, "-c", NO_FILES_LEFT, waits]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, check=False)
        # What needs a file, such as the listing, may say that it has none.
        told = [line for line in done.stderr.splitlines() if b"Too many open files" not in line]
        assert (done.returncode, told) == (3, [])


INTERRUPTED = """
import sys, threading, time, metertap
metertap.instrument()
with metertap.measure_tool("search"):
    pass
{also}
# Meanwhile the endpoint's thread imports what it needs, and so executes texts.
threading.Thread(target=time.sleep, args=(1,)).start()
{end}
"""


@pytest.mark.parametrize(
    ("also", "end", "status"),
    [
        ("", "raise KeyboardInterrupt", -signal.SIGINT),
        ("", "raise type('Mine', (KeyboardInterrupt,), {})", 1),
        ("", "sys.exit(1)", 1),
        ("", "raise ValueError", 1),
        (
            "import code; code.InteractiveConsole().runsource('raise KeyboardInterrupt')",
            "sys.exit(0)",
            0,
        ),
    ],
)
def test_an_interrupt_at_the_top_ends_the_process_and_no_other_does(
    also: str, end: str, status: int
) -> None:
    code = INTERRUPTED.format(also=also, end=end)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == status
