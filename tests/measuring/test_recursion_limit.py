"""Tools that call themselves until Python allows no more: what they end by, and what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import metertap

GOOD = 1100
"""Calls before each run to the limit: more than wait between two folds."""
NO_ROOM = 6
"""The innermost calls of a run, of some hundred, for whose end there may be no room left."""


def deeper(levels: int, call: Callable[[], Any]) -> Any:
    """Call from so many levels further down: where the limit is met differs."""
    return call() if levels == 0 else deeper(levels - 1, call)


@pytest.mark.faults
def test_calls_that_wait_when_a_tool_comes_to_the_limit_of_recursion_are_counted() -> None:
    @metertap.tool
    def visit(node: list[Any]) -> None:
        for child in node:
            visit(child)

    loop: list[Any] = []
    loop.append(loop)
    with metertap.instrument() as tap:
        for levels in range(6):
            for _ in range(GOOD):
                visit([])
            with pytest.raises(RecursionError):
                deeper(levels, lambda: visit(loop))
        found = tap.snapshot()["tool_metrics"]["visit"]
    assert found["outcomes"]["ok"] == 6 * GOOD
    assert found["error_types"].keys() == {"RecursionError"}
    assert found["active_calls"] <= 6 * NO_ROOM


@pytest.mark.faults
def test_generators_that_come_to_the_limit_of_recursion_have_ended() -> None:
    made = 0

    @metertap.tool
    def walk(node: list[Any]) -> Iterator[int]:
        nonlocal made
        made += 1
        yield made
        for child in node:
            yield from walk(child)

    loop: list[Any] = []
    loop.append(loop)
    with metertap.instrument() as tap:
        for _ in range(6):
            with pytest.raises(RecursionError):
                list(walk(loop))
        found = tap.snapshot()["tool_metrics"]["walk"]
    assert found["active_calls"] <= 6 * NO_ROOM
    assert found["total_calls"] >= made - 6 * NO_ROOM
