"""Ticks are taken without a lock, by any number of threads, and never raise anything of ours."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import pytest

from metertap import state
from metertap.recording.buffer import CHUNK

pytestmark = pytest.mark.interpreter


def test_a_chunk_that_others_have_emptied_meanwhile_is_followed_by_another() -> None:
    series: Any = state.recorder().tool("search", "test")
    while True:  # to the end of a chunk
        try:
            series.tick()
        except StopIteration:
            break
    before = series.ticks

    class Emptied:
        """An iterator of which other threads take the last tick between a look and the next."""

        def __init__(self) -> None:
            self._ticks = repeat(None, 1)

        def __iter__(self) -> Emptied:
            return self

        def __next__(self) -> None:
            next(self._ticks)  # theirs
            return next(self._ticks)

        def __length_hint__(self) -> int:
            return self._ticks.__length_hint__()

    series._ticking = Emptied()
    series.due()
    assert series.ticks >= before
    for _ in range(CHUNK - 1):
        series.tick()
