"""Ends that are asked for twice, as `timeout` of coreutils does, and before anything is measured.

These are rows of the table in docs/reliability.md.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metertap.runtime.endings import Endings
from servers.otlp_receiver import Receiver, receiver
from support.endings import CALLS, PRELUDE, to
from support.programs import METERTAP, ended, started

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="these are the ends that POSIX has"),
    pytest.mark.programs,
]
BUSY = "work(); ready(lambda: None)\nwhile True: pass"
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(params=["instrument", "run"])
def command_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[str]]:
    """Writes a program that measures itself, or is measured by `metertap run`."""

    def write(code: str) -> list[str]:
        is_own = request.param == "instrument"
        text = PRELUDE.format(instrument="metertap.instrument()" if is_own else "") + code
        (tmp_path / "shop.py").write_text(text)
        run = [] if is_own else [METERTAP, "run", "--"]
        return [*run, sys.executable, str(tmp_path / "shop.py")]

    return write


@pytest.mark.skipif(shutil.which("timeout") is None, reason="coreutils are not there")
@pytest.mark.parametrize("sent", SIGNALS, ids=lambda sent: sent.name)
@pytest.mark.parametrize("end", ["ready()", "ready(lambda: None)\nwhile True: pass"])
def test_a_program_that_timeout_ends_loses_nothing(
    end: str, sent: signal.Signals, command_of: Callable[[str], list[str]]
) -> None:
    # It has no file that says how far the program is, but passes on the signals that it gets.
    command = ["timeout", "--preserve-status", "-s", sent.name[3:], "300"]
    with receiver() as collector:
        program = [*command, *command_of("work(); " + end)]
        with started(program, env=to(collector)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGALRM)  # as its timer does
            status = ended(process).status
    assert status in {-sent, 128 + sent}
    assert sum(collector.calls_by_process().values()) == CALLS


@contextmanager
def busy(
    command_of: Callable[[str], list[str]],
) -> Iterator[tuple[subprocess.Popen[bytes], Receiver]]:
    """A program that has made its calls and computes for ever, and the collector that it has."""
    with receiver() as collector, started(command_of(BUSY), env=to(collector)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process, collector


@pytest.mark.parametrize("sent", SIGNALS, ids=lambda sent: sent.name)
@pytest.mark.parametrize("pause", [0.0003, 0.005])
def test_a_signal_that_comes_twice_ends_the_process_once(
    pause: float, sent: signal.Signals, command_of: Callable[[str], list[str]]
) -> None:
    pairs = 0
    while pairs < 2:
        with busy(command_of) as (process, collector):
            began = time.monotonic()
            process.send_signal(sent)
            time.sleep(pause)
            process.send_signal(sent)
            took = time.monotonic() - began
            assert ended(process).status == -sent
        if took < 0.05:  # a second one that comes a tenth of a second later is another one
            pairs += 1
            assert sum(collector.calls_by_process().values()) == CALLS


@pytest.mark.parametrize("sent", SIGNALS, ids=lambda sent: sent.name)
@pytest.mark.parametrize("pause", [0.001, 0.005])
def test_a_process_that_stands_still_meanwhile_handles_both_as_one(
    pause: float, sent: signal.Signals, command_of: Callable[[str], list[str]]
) -> None:
    # As it does where a container has used up its share of the processor.
    took = 1.0
    while took > 0.05:
        with busy(command_of) as (process, collector):
            began = time.monotonic()
            process.send_signal(sent)
            time.sleep(pause)
            process.send_signal(signal.SIGSTOP)
            process.send_signal(sent)
            took = time.monotonic() - began
            time.sleep(0.2)
            process.send_signal(signal.SIGCONT)
            assert ended(process).status == -sent
    assert sum(collector.calls_by_process().values()) == CALLS


USAGE = "metertap.record_usage(provider='openai', model='gpt-4o', input_tokens=5)"
IMPORTED = b"imported\n"


@pytest.fixture
def prices(tmp_path: Path) -> None:
    """Lets the end of a program take a minute: its first price imports this table."""
    (tmp_path / "genai_prices.py").write_text(
        f"import os, time\nos.write(1, {IMPORTED!r})\ntime.sleep(60)"
    )


@pytest.mark.usefixtures("prices")
def test_a_second_signal_that_comes_later_ends_the_process_at_once(
    command_of: Callable[[str], list[str]],
) -> None:
    command = command_of(f"{USAGE}\nready()")
    with receiver() as collector, started(command, env=to(collector)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == IMPORTED
        time.sleep(0.3)
        process.send_signal(signal.SIGHUP)
        assert ended(process).status == -signal.SIGHUP


CHILD = (
    "p = multiprocessing.get_context('fork').Process(target=usage); p.start(); "
    "signal.signal(signal.SIGINT, signal.SIG_IGN); p.join(); os._exit(p.exitcode + 5)"
)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("usage(); sys.exit(3)", 3),
        ("usage(); raise KeyboardInterrupt", -signal.SIGINT),
        (CHILD, 5),
    ],
    ids=["exit", "interrupt", "child"],
)
@pytest.mark.usefixtures("prices")
def test_an_interrupt_of_the_last_push_changes_no_end_and_is_not_told(
    end: str, status: int, command_of: Callable[[str], list[str]]
) -> None:
    command = command_of(f"def usage(): {USAGE}\n{end}")
    with receiver() as collector, started(command, env=to(collector)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == IMPORTED
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        found = ended(process)
    assert found.status == status
    assert "metertap" not in found.told.replace("import metertap", "")


def test_an_interrupt_just_before_the_last_push_loses_nothing(
    command_of: Callable[[str], list[str]],
) -> None:
    # Python handles it as it calls the next function: that of metertap, which cannot catch it yet.
    interrupts = "work()\nimport atexit, _thread\natexit.register(_thread.interrupt_main)"
    with receiver() as collector, started(command_of(interrupts), env=to(collector)) as process:
        assert ended(process).status == 0
    assert sum(collector.calls_by_process().values()) == CALLS


@pytest.mark.faults
@pytest.mark.parametrize("raised", [None, ValueError, KeyboardInterrupt])
def test_the_interpreter_is_after_a_push_as_it_was(raised: type[BaseException] | None) -> None:
    during = []

    def interpreter() -> tuple[float, object]:
        return sys.getswitchinterval(), signal.getsignal(signal.SIGINT)

    def push(_until: float) -> None:
        during.append(interpreter())
        if raised is not None:
            raise raised

    before = interpreter()
    Endings(push, lambda _until: None, lambda: 0.0)._push_at_once()
    assert interpreter() == before
    assert during[0][0] < before[0]
    assert during[0][1] is not before[1]


IMPORTS = """
work()
import {module}
"""


@pytest.mark.parametrize("module", ["catalogue", "cachetools"])
def test_a_signal_during_an_import_of_the_programs_loses_nothing(
    module: str, command_of: Callable[[str], list[str]], tmp_path: Path
) -> None:
    # The second is a library's name, so that metertap itself waits for the import.
    (tmp_path / f"{module}.py").write_text("import os, time\nos.kill(os.getpid(), 15)\nwhile 1: 1")
    with receiver() as collector:
        command = command_of(IMPORTS.format(module=module))
        with started(command, env=to(collector)) as process:
            found = ended(process)
    assert (found.status, found.told) == (-signal.SIGTERM, "")
    assert sum(collector.calls_by_process().values()) == CALLS


AT_AN_IMPORT = """
import os, sys
left = int(sys.argv[1])
def count(event, details):
    global left
    if event == "import":
        left -= 1
        if not left:
            os.kill(os.getpid(), int(sys.argv[2]))
sys.addaudithook(count)
import metertap
tap = metertap.instrument()
metertap.tool(print)
imports = int(sys.argv[1]) - left
left = 0
sys.stdin.read()
print(imports)
"""


@pytest.mark.parametrize("sent", SIGNALS, ids=lambda sent: sent.name)
def test_a_signal_while_measuring_begins_ends_the_process(
    sent: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(AT_AN_IMPORT)
    with receiver() as collector:
        environ = {**os.environ, **to(collector)}

        def ends(number: int) -> subprocess.CompletedProcess[bytes]:
            command = [sys.executable, str(tmp_path / "shop.py"), str(number), str(int(sent))]
            return subprocess.run(
                command, env=environ, capture_output=True, stdin=subprocess.DEVNULL, check=False
            )

        imports = int(ends(10**9).stdout)
        assert imports > 100
        for number in range(1, imports, imports // 8):
            done = ends(number)
            assert (number, done.returncode) == (number, -sent), done.stderr
            is_silent = sent != signal.SIGINT  # of which Python tells where it was
            assert not (is_silent and done.stderr), done.stderr
