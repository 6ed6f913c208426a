"""What the two written-out ways to measure a function record of each call."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

import pytest

import metertap
from metertap import state
from metertap.measuring import functions


def plain(look_up: Callable[[], None]) -> Callable[[], Any]:
    @metertap.tool
    def search() -> None:
        look_up()

    return search


def coroutine(look_up: Callable[[], None]) -> Callable[[], Any]:
    @metertap.tool
    async def search() -> None:
        look_up()

    return lambda: asyncio.run(search())


both = pytest.mark.parametrize("made", [plain, coroutine])


def entry() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"]["search"]
    return found


@both
@pytest.mark.parametrize(("hits", "misses"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("is_inside", [False, True])
def test_a_call_is_told_apart_by_the_lookups_in_it(
    made: Callable[..., Any], hits: int, misses: int, is_inside: bool
) -> None:
    prompts = metertap.cache_meter("prompts")

    def look_up() -> None:
        for _ in range(hits):
            prompts.hit()
        for _ in range(misses):
            prompts.miss()

    call = made(look_up)
    if is_inside:
        with metertap.measure_tool("around"):
            call()
    else:
        call()
    found = entry()["with_cache"]
    if not hits and not misses:
        assert found is None
    else:
        expected = (0, 1) if misses else (1, 0)
        assert (found["all_hit"]["calls"], found["missed"]["calls"]) == expected


@both
def test_the_last_call_is_known(made: Callable[..., Any]) -> None:
    call = made(lambda: None)
    for _ in range(2):
        call()
    assert entry()["last_call_timestamp"] == pytest.approx(time.time(), abs=60)


def test_what_a_patch_makes_of_a_function_is_of_its_kind_and_can_be_undone() -> None:
    async def search() -> str:
        return "found"

    def buy() -> str:
        return "bought"

    for function in (search, buy):
        measured, close = functions.replacement(function.__name__, "test", "means")(function)
        assert inspect.iscoroutinefunction(measured) is inspect.iscoroutinefunction(function)
        result = measured()
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        assert result == function.__name__.replace("search", "found").replace("buy", "bought")
        series = state.recorder().find_tool(function.__name__, "test")
        assert series is not None
        assert series.figures().succeeded == 1
        close()
