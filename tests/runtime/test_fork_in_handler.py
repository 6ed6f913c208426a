"""A signal handler of the program that forks while another fork is under way, wherever it comes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.forking import ran

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.programs,
]

# Where a line is traced, Python would also look for signals. Lines of metertap's own that a fork
# runs are interrupted by another fork, as a handler would make it.
PROGRAM = """
import itertools, logging
from metertap import faults, locks
from metertap.history import forks

# A child that comes while the history's file is being closed says that it leaves the file alone.
logging.disable()
tap = metertap.instrument(json_endpoint=False, history=HISTORY)

@metertap.tool
def search():
    pass

def is_free(lock):
    found = []
    def take():  # a thread of metertap's may hold it for a moment
        found.append(lock.acquire(timeout=60))
        if found[0]:
            lock.release()
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]

def called():
    search()
    return metertap.get_all_metrics()["tool_metrics"]["search"]["total_calls"]

def fork(number):
    lines, inner = itertools.count(), []
    def trace(frame, event, _argument):
        if os.sep + "metertap" not in frame.f_code.co_filename:
            return None
        if event == "line" and next(lines) == number:
            sys.settrace(None)
            inner.append(in_child(called))
        return trace
    sys.settrace(trace)
    outer = in_child(lambda: None)
    sys.settrace(None)
    return outer, inner

search()
tap.flush(60_000)
found = []
for number in itertools.count(0, 4):
    outer, inner = fork(number)
    if not inner:
        break
    if (outer, inner) != (None, [1]):
        found.append([number, outer, inner])
held = [repr(lock) for lock in locks._made if hasattr(lock, "acquire") and not is_free(lock)]
search()
tap.flush(60_000)
problem = tap.diagnosis()["history"]["problem"]
print(json.dumps([number > 100, found, held, forks._unusable, faults.fault_counts(), problem]))
"""


def test_no_lock_is_kept_and_every_child_counts_wherever_it_comes(tmp_path: Path) -> None:
    program = PROGRAM.replace("HISTORY", repr(str(tmp_path / "history.db")))
    assert ran(program) == [True, [], [], [], {}, None]
