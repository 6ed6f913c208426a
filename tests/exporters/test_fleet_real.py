"""Percentiles of several processes, merged by a real store, are those of all calls together."""

from __future__ import annotations

import pytest

from benchmarks import fleet

pytestmark = [pytest.mark.real, pytest.mark.programs]


@pytest.mark.parametrize("kind", ["exponential", "native"])
def test_a_store_merges_exponential_histograms_to_one_percent(kind: str) -> None:
    found = fleet.errors(kind, processes=3, calls=1500)
    assert set(found) == set(fleet.SHAPES)
    for shape, errors in found.items():
        assert all(abs(error) <= fleet.LIMIT for error in errors.values()), (shape, errors)
