"""Servers that `metertap weight` starts and ends, with all processes that they have begun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from metertap.cli.weight.stdio import _descendants
from support.waiting import wait_for

CHAIN = """
import os, time
for _ in range(60):
    if os.fork():
        os.wait()
        os._exit(0)
print("begun", flush=True)
time.sleep(600)
"""


def test_a_chain_of_processes_that_is_longer_than_a_recursion_may_be_is_found() -> None:
    with subprocess.Popen([sys.executable, "-c", CHAIN], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert wait_for(process.stdout.readline) == b"begun\n"
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(_depth() + 40)
            try:
                found = list(_descendants(process.pid))
            finally:
                sys.setrecursionlimit(limit)
            assert len(found) == 60
        finally:
            for pid in list(_descendants(process.pid)):
                os.kill(pid, signal.SIGKILL)
            process.kill()


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
