"""Ticks are taken without a lock, by any number of threads, and never raise anything of ours."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest

from metertap import catalogue, state
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


def test_who_waits_for_records_is_told_when_a_call_begins_and_not_only_when_it_ends() -> None:
    series = state.recorder().tool("search", "test")
    told: list[int] = []
    state.recorder().on_record(lambda: told.append(series.ticks))
    with pytest.raises(StopIteration):
        series.tick()
    series.due()
    assert told == [1]
    series.tick()
    assert told == [1]


def test_who_waits_for_records_is_told_of_the_next_one_of_a_series_that_has_begun() -> None:
    point = state.recorder().operation(
        "key", catalogue.CLIENT_DURATION, {"mcp.method.name": "ping"}
    )
    point.record(0.5, 1.0)
    told: list[None] = []
    state.recorder().on_record(lambda: told.append(None))
    point.record(0.5, 2.0)
    assert told == []
    state.recorder().begin_again()  # as for a pipeline that has come
    point.record(0.5, 3.0)
    assert told == [None]
    point.record(0.5, 4.0)
    assert told == [None]


def levels_left() -> int:
    try:
        return 1 + levels_left()
    except RecursionError:
        return 0


def deeper(levels: int, call: Callable[[], None]) -> None:
    if levels > 0:
        deeper(levels - 1, call)
    else:
        call()


def test_near_the_limit_of_recursion_a_series_folds_but_does_not_begin() -> None:
    recorder = state.recorder()
    series, told = recorder.tool("search", "test"), list[None]()
    recorder.on_record(lambda: told.append(None))

    def record() -> None:
        recorder.started(series)
        series.append(0.5)

    def near(call: Callable[[], None]) -> None:
        deeper(levels_left() - 150, call)

    near(record)
    assert (series.waiting, told) == (1, [])
    record()
    assert (series.waiting, told) == (0, [None])
    record()
    assert series.waiting == 1
    near(series.fold_now)
    assert series.waiting == 0
    for _ in range(CHUNK):
        near(record)
    assert series.waiting < CHUNK
