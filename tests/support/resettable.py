"""Tools and caches that are used before and after a reset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import metertap
from support.patched_call import patched

DURATION = "gen_ai.execute_tool.duration"


@metertap.tool
def search(fail: bool = False) -> None:
    if fail:
        raise KeyError


@metertap.tool
def pages() -> Iterator[int]:
    yield 1
    yield 2


def use(prompts: metertap.CacheMeter) -> None:
    """Whatever leaves a figure behind."""
    search()
    search()
    with pytest.raises(KeyError):
        search(True)
    list(pages())
    for hit in (True, False):
        with patched("look up"):
            prompts.hit() if hit else prompts.miss()
    metertap.record_tool_call("by hand", True, 5.0)
    metertap.record_tool_call("by hand", False, 6.0, "ReadTimeout")
    metertap.record_tool_call("by hand", False, error_type="CancelledError")
    prompts.evicted(2)
    prompts.rejected()
    prompts.miss()
