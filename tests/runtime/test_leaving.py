"""Leaving the listing as the process ends: nobody waits for a thread that has nothing to do."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from metertap.runtime.leaving import Leaving

ENDS = """
import time
from metertap.runtime.endings import END_SECONDS, Endings

given = []
began = time.monotonic()
Endings(given.append, given.append, lambda: 0.0)._exit()
assert given[0] == given[1], given
assert began + END_SECONDS <= given[0] <= time.monotonic() + END_SECONDS, given
"""


def waiting() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "metertap-listing"}


def test_a_thread_that_waits_is_asked_although_more_was_listed_meanwhile() -> None:
    before, left = waiting(), []
    leaving = Leaving(lambda: left.append(1), list)
    leaving.prepare()
    leaving.renew()  # as where a process is listed as measured while its endpoint opens
    leaving.prepare()
    (thread,) = waiting() - before
    leaving.now()
    thread.join(60)
    assert not thread.is_alive()
    assert left == [1]


def test_what_is_listed_again_is_left_again() -> None:
    left: list[int] = []
    leaving = Leaving(lambda: left.append(1), list)
    leaving.now()
    leaving.renew()
    leaving.now()
    assert left == [1, 1]


def test_a_folder_that_hangs_is_not_waited_for_where_the_time_is_over() -> None:
    goes_on = threading.Event()
    leaving = Leaving(lambda: [goes_on.wait(60), None][1], list)
    leaving.prepare()
    thread = leaving._thread
    assert thread is not None
    leaving.now(time.monotonic() - 1)
    assert thread.is_alive()  # nobody has waited for it
    goes_on.set()
    thread.join(60)


def test_pushing_and_stopping_end_at_the_same_time() -> None:
    subprocess.run([sys.executable, "-c", ENDS], check=True)
