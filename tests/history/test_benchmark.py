"""Small instances of `python -m benchmarks.history`, with its limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import history


def test_a_series_and_interval_takes_less_than_its_bytes(tmp_path: Path) -> None:
    _, size = history.intervals(tmp_path, calls=50, count=3, series=100)
    assert size <= history.BYTES


@pytest.mark.parametrize(("name", "error"), history.errors(seed=99, count=2000))
def test_percentiles_of_merged_parts_are_within_a_hundredth(name: str, error: float) -> None:
    assert error <= history.ERROR


def test_a_thousand_series_take_the_writing_thread_a_moment(tmp_path: Path) -> None:
    took, _ = history.intervals(tmp_path, calls=5, count=3)
    assert 1000 * min(each.processor for each in took) <= 2 * history.WRITE_MS


@pytest.mark.programs
@pytest.mark.parametrize("part", ["kill", "full", "closed"])
def test_no_committed_interval_is_lost(part: str, tmp_path: Path) -> None:
    hindered: Callable[..., bool] = getattr(history, part)
    assert hindered(tmp_path, times=2)
