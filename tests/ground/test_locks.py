"""Locks of metertap's where the program has put something in the place of Python's."""

from __future__ import annotations

import sys

import pytest

from support.programs import run

pytestmark = [pytest.mark.programs, pytest.mark.interpreter]

REPLACED = """
import functools, threading
threading.RLock = threading._PyRLock  # as eventlet does, whose greenlets are one native thread
wait = threading.Condition.wait

@functools.wraps(wait)
def decorated(self, timeout=None):
    waited.append(self)
    return wait(self, timeout)

waited = []
threading.Condition.wait = decorated
from metertap import locks
assert type(locks.rlock()) is threading._PyRLock
assert not locks.event().wait(0.001)
assert len(waited) == 1
"""


def test_the_ones_that_were_there_first_are_used() -> None:
    done = run(sys.executable, "-c", REPLACED)
    assert (done.status, done.told) == (0, "")
