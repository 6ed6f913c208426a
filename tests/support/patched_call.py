"""A call that an instrumentor counts, without a library."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from metertap import state
from metertap.measuring import calls


@dataclass
class Owner:
    """What counts the call."""

    name: str
    counted_by: object = calls.PATCH


@contextlib.contextmanager
def patched(name: str) -> Iterator[None]:
    """Run a block as one call of the tool `name`."""
    frame = calls.enter(Owner(name), state.recorder().tool(name, "library"))
    yield
    calls.leave(frame)
