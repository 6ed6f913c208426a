"""A few calls and lookups by hand, of which a test knows every figure."""

from __future__ import annotations

from contextlib import nullcontext

import metertap


def record(*, missed_by: str | None = None) -> None:
    """Five calls of `search`, one of which fails, and four lookups in `prompts`: one misses.

    That one is made during a call of the tool `missed_by`, if that is given.
    """
    for latency_ms in (5.0, 15.0, 30.0, 700.0):
        metertap.record_tool_call("search", True, latency_ms)
    metertap.record_tool_call("search", False, 90.0, "ValueError")
    cache = metertap.cache_meter("prompts")
    for _ in range(3):
        cache.hit()
    with nullcontext() if missed_by is None else metertap.measure_tool(missed_by):
        cache.miss()
