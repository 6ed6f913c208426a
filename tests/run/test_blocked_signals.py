"""Signals that a program blocks stay pending until it takes them: no thread of ours gets them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from servers.otlp_receiver import unreachable_endpoint
from support.ports import free_port
from support.programs import RUN, run

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="the system has none of these"),
    pytest.mark.programs,
]
PROGRAM = """
import os, signal, subprocess, sys, threading, time
import metertap
{instrument}

@metertap.tool
def search():
    pass

search()
until = time.monotonic() + 60
wanted = {wanted}
while not wanted <= {{thread.name for thread in threading.enumerate()}}:
    assert time.monotonic() < until, threading.enumerate()
    time.sleep(0.01)
time.sleep(0.5)  # threads that are no thread of Python's
is_inside = True
signal.signal(signal.SIGTERM, lambda *_: print("inside" if is_inside else "after", flush=True))
blocked = {{signal.SIGTERM, signal.SIGUSR1, signal.SIGINT}}
signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
for number in blocked:
    os.kill(os.getpid(), number)
time.sleep(0.2)
print(signal.sigpending() == blocked, flush=True)
taken = {{signal.sigtimedwait({{number}}, 1).si_signo for number in blocked - {{signal.SIGTERM}}}}
print(taken == blocked - {{signal.SIGTERM}}, flush=True)
is_inside = False
signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
child = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, set()))"
subprocess.run([sys.executable, "-c", child], check=True)
sys.exit(3)
"""
EXPECTED = b"True\nTrue\nafter\nset()\n"
THREADS = {"metertap-listing", "metertap-json", "metertap-history", "metertap-otlp"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("is_run", [False, True], ids=["instrument", "run"])
def test_a_blocked_signal_is_pending_until_the_program_takes_it(
    protocol: str, is_run: bool, tmp_path: Path
) -> None:
    path = tmp_path / "program.py"
    instrument = "" if is_run else "metertap.instrument()"
    path.write_text(PROGRAM.format(instrument=instrument, wanted=THREADS))
    env = {
        "METRICS_JSON_PORT": str(free_port()),
        "METERTAP_HISTORY": str(tmp_path / "history.db"),
        "METERTAP_DISABLED_INSTRUMENTATIONS": "*",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": unreachable_endpoint(),
        "METERTAP_ANNOUNCE": "false",
    }
    done = run(*(RUN if is_run else ()), sys.executable, str(path), env=env)
    assert (done.status, done.stdout) == (3, EXPECTED), done.told


def test_a_thread_of_ours_blocks_what_the_program_may_wait_for_and_no_fault_of_its_own() -> None:
    from metertap import threads

    found: list[set[int]] = []
    thread = threads.Thread(target=lambda: found.append(_mask()))
    before = _mask()
    thread.start()
    thread.join()
    assert _mask() == before
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGRTMIN} <= found[0]
    assert not found[0] & {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE}


def _mask() -> set[int]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, set())


HAS_PIPES = """
import os, signal, socket, threading, time
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as programs do that `| head` is to end
import metertap

def rude(listener):
    while True:
        listener.accept()[0].close()

collector = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=rude, args=(collector,), daemon=True).start()
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.getsockname()[1]}"
tap = metertap.instrument(announce=False, json_port=0)
for number in range(1500):
    with metertap.measure_tool(f"tool with a name number {number}"):
        pass
until = time.monotonic() + 60
while tap.json_url is None:
    assert time.monotonic() < until
    time.sleep(0.01)
port = int(tap.json_url.rpartition(":")[2])
for _ in range(40):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        client.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    time.sleep(0.02)
tap.flush(5000)
print("goes on", flush=True)
"""


def test_a_client_or_collector_that_hangs_up_ends_no_program_that_leaves_sigpipe_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "program.py"
    path.write_text(HAS_PIPES)
    env = {"METERTAP_DISABLED_INSTRUMENTATIONS": "*", "OTEL_METRICS_EXPORTER": "otlp"}
    done = run(sys.executable, str(path), env=env)
    assert (done.status, done.stdout) == (0, b"goes on\n"), done.told
