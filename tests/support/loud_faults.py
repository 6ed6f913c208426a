"""Faults of metertap's own, which a program never sees: a test fails by each one.

What a guard swallows is raised where it is swallowed, and fails the test at its end as well, since
frameworks and threads swallow it, too. A test that provokes faults is marked with `faults`.
"""

from __future__ import annotations

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
    """Raise in this process what guards swallow in the block, unless faults are expected there."""
    global _are_expected
    found: list[str] = []

    def fault(place: str, reason: BaseException | str) -> None:
        _swallowed(place, reason)
        found.append(ascii(f"{place}: {reason!r}"))
        raise reason if isinstance(reason, BaseException) else AssertionError(found[-1])

    _are_expected = are_expected
    faults.fault = _swallowed if are_expected else fault
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
