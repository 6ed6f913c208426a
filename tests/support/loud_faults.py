"""Faults of metertap's own, which a program never sees: each one fails the test in which it is.

What a guard swallows is raised again at the end of the test, with the place at which it was
swallowed: frameworks, event loops and threads would swallow it once more, or hang. A test that
provokes faults is marked with `faults`.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from metertap import faults

_TOLD = "(counted in metertap.errors, told once)"
"""What stands in a program's stderr after a fault."""

_swallowed = faults.fault
_are_expected = True


@contextmanager
def raised(*, are_expected: bool) -> Iterator[None]:
    """Fail after the block if anything was swallowed in it, unless faults are expected there."""
    global _are_expected
    found: list[str] = []

    def fault(place: str, reason: BaseException | str) -> None:
        _swallowed(place, reason)
        if isinstance(reason, BaseException):
            shown = "".join(traceback.format_exception(reason))
        else:
            shown = reason
        found.append(f"{place}: {shown}".encode("ascii", "backslashreplace").decode())

    _are_expected = are_expected
    if not are_expected:
        faults.fault = fault
    try:
        yield
    finally:
        faults.fault = _swallowed
        _are_expected = True
    if found:
        pytest.fail("faults of metertap's own:\n" + "\n".join(found), pytrace=False)


def check(stderr: bytes) -> None:
    """Fail where a program told of a fault, unless the test provokes faults."""
    assert _are_expected or _TOLD.encode() not in stderr, stderr.decode("utf-8", "replace")
