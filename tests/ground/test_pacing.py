"""Pauses between the items of long work."""

from __future__ import annotations

import pytest

from metertap import threads
from metertap.pacing import paced


@pytest.mark.parametrize(("items", "pauses"), [(0, 0), (1, 0), (100, 0), (101, 1), (350, 3)])
def test_others_run_after_every_hundred_items(
    items: int, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(threads, "sleep", slept.append)
    assert list(paced(range(items))) == list(range(items))
    assert len(slept) == pauses
