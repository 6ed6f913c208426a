"""A measured block is a call, wherever and however often it is entered."""

from __future__ import annotations

import contextvars
import threading

import pytest

import metertap
from metertap import faults
from metertap.measuring import calls
from metertap.measuring.blocks import MeasuredBlock
from metertap.measuring.slots import Slot
from support.documents import tools

pytestmark = pytest.mark.interpreter


def test_a_measured_block_is_a_call() -> None:
    with metertap.measure_tool("search"):
        assert tools()["search"]["active_calls"] == 1
    with pytest.raises(KeyError), metertap.measure_tool("search"):
        raise KeyError
    found = tools()["search"]
    assert (found["successful_calls"], found["failed_calls"]) == (1, 1)


def test_one_block_object_can_be_entered_again() -> None:
    block = metertap.measure_tool("search")

    @metertap.tool(name="search")
    def search() -> None:
        with block:  # a call that the decorator counts
            pass

    for _ in range(2):
        with block:
            pass
    search()
    assert tools()["search"]["total_calls"] == 3


def test_one_block_may_be_entered_twice_and_by_two_threads() -> None:
    block = metertap.measure_tool("shared")
    both_inside = threading.Barrier(2)

    def work() -> None:
        with block, block:
            both_inside.wait(60)

    with metertap.instrument(json_endpoint=False):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = metertap.get_all_metrics()["tool_metrics"]["shared"]
    assert (found["successful_calls"], found["active_calls"]) == (4, 0)


def test_a_call_that_is_over_is_not_kept_by_its_context() -> None:
    with metertap.instrument(json_endpoint=False):
        with metertap.measure_tool("search"):
            frame = calls.current.get()
            assert frame is not None
            assert frame[calls.OWNER].name == "search"
        assert frame[calls.OWNER] is None


def test_a_block_may_end_in_another_context_than_it_began_in() -> None:
    block = metertap.measure_tool("search")
    contextvars.copy_context().run(block.__enter__)
    assert tools()["search"]["active_calls"] == 1
    block.__exit__(None, None, None)
    found = tools()["search"]
    assert (found["successful_calls"], found["active_calls"]) == (1, 0)
    block.__exit__(None, None, None)  # once more than it began
    assert tools()["search"]["total_calls"] == 1
    assert faults.fault_counts() == {}


def test_a_block_in_two_contexts_ends_in_each_the_call_that_began_there() -> None:
    block = MeasuredBlock(Slot("search", "manual"))
    one, other = contextvars.copy_context(), contextvars.copy_context()
    for context in (one, other):
        context.run(block.__enter__)
    first, second = one[calls.current], other[calls.current]
    assert first is not None
    assert second is not None
    one.run(block.__exit__, None, None, None)
    assert first[calls.SERIES] is None
    assert second[calls.SERIES] is not None
    assert block._frames == [second]
    other.run(block.__exit__, None, None, None)
    assert block._frames == []


def test_blocks_may_end_in_the_order_in_which_they_began() -> None:
    outer, inner = metertap.measure_tool("outer"), metertap.measure_tool("inner")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert {name: tool["active_calls"] for name, tool in tools().items()} == {
        "outer": 0,
        "inner": 1,
    }
    inner.__exit__(None, None, None)
    assert {name: tool["successful_calls"] for name, tool in tools().items()} == {
        "outer": 1,
        "inner": 1,
    }


def test_a_block_keeps_nothing_where_nothing_is_recorded() -> None:
    block = MeasuredBlock(Slot("search", "manual"))
    with metertap.instrument(enabled=False), block:
        assert block._frames == []
    assert tools() == {}
