"""Weighing of results during a call: lengths are read, and nothing of a result is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.recording import ToolSeries, WeightSeries
from metertap.state import recorder
from metertap.weight.results import STRUCTURED, UNKNOWN, of_structure

_ALWAYS = 8
_EVERY = 64
"""The first structured results are in the sample, and then one of this many."""


def weigh(series: ToolSeries, size_of: Callable[[Any], int], result: Any) -> None:
    """Record the size of a tool's result, as returned by `size_of`. Never raises."""
    weight = series.weight
    if weight is None:
        weight = recorder().weight_of(series)
    if weight:
        weigh_on(weight, size_of, result)


def weigh_on(weight: WeightSeries, size_of: Callable[[Any], int], result: Any) -> None:
    """Do the same where the weight is held already. Never raises."""
    try:
        size = size_of(result)
        if size < 0:
            size = _not_read(weight, size, result)
    except Exception as fault:
        faults.fault("weight.result", fault)
        size = UNKNOWN
    try:
        weight.record(size)
    except Exception as fault:
        faults.fault("weight.result", fault)


def _not_read(weight: WeightSeries, size: int, result: Any) -> int:
    if size == STRUCTURED:
        count = weight.structured
        weight.structured = count + 1
        if count >= _ALWAYS and count % _EVERY:
            return size
        size = of_structure(result)
    if size == UNKNOWN and not weight.is_unknown_told:
        weight.is_unknown_told = True
        faults.warn_once(
            "weight.unknown",
            "the size of what tool %s returned is not known (%s): such results count as unknown",
            weight.name,
            type(result).__qualname__,
        )
    return size
