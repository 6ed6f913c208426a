"""However a call, lookup, request or session is recorded: JSON, Prometheus and OTLP say the same.

Each row of the tables is one way to record. It is used three times, for a duration that the test
knows: as long as it waits at least, and at most as long as all took together. So a wrong unit, a
call that is lost and one that is counted twice show, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import metertap
from metertap import catalogue, outcomes, state
from support.every_view import Publish, Published, points
from support.every_way import TIMES, WAIT
from support.exposition import key

BY_HAND_MS = (20.0, 30.0, 75.0)
"""Latencies that a program has measured itself."""


def by_decorator() -> None:
    work = metertap.tool(name="work")(functools.partial(time.sleep))
    for _ in range(TIMES):
        work(WAIT)


def by_decorated_function() -> None:
    @metertap.tool
    def work() -> None:
        time.sleep(WAIT)

    for _ in range(TIMES):
        work()


def by_decorated_coroutine() -> None:
    @metertap.tool
    async def work() -> None:
        await asyncio.sleep(WAIT)

    async def use() -> None:
        for _ in range(TIMES):
            await work()

    asyncio.run(use())


def by_nested_functions() -> None:
    @metertap.tool
    def work() -> None:
        time.sleep(WAIT)

    @metertap.tool
    def around() -> None:
        work()

    for _ in range(TIMES):
        around()


def by_decorated_generator() -> None:
    @metertap.tool
    def work() -> Iterator[int]:
        time.sleep(WAIT / 2)
        yield 1
        time.sleep(WAIT / 2)

    for _ in range(TIMES):
        list(work())


def by_decorated_async_generator() -> None:
    @metertap.tool
    async def work() -> AsyncIterator[int]:
        await asyncio.sleep(WAIT / 2)
        yield 1
        await asyncio.sleep(WAIT / 2)

    async def use() -> None:
        for _ in range(TIMES):
            _ = [item async for item in work()]

    asyncio.run(use())


def by_block() -> None:
    for _ in range(TIMES):
        with metertap.measure_tool("work"):
            time.sleep(WAIT)


def by_failing_block() -> None:
    for _ in range(TIMES):
        with contextlib.suppress(KeyError), metertap.measure_tool("work"):
            time.sleep(WAIT)
            raise KeyError


def by_failing_function() -> None:
    @metertap.tool
    def work() -> None:
        time.sleep(WAIT)
        raise KeyError

    for _ in range(TIMES):
        with contextlib.suppress(KeyError):
            work()


def by_hand() -> None:
    for latency_ms in BY_HAND_MS:
        metertap.record_tool_call("work", True, latency_ms)


def by_hand_failed() -> None:
    for latency_ms in BY_HAND_MS:
        metertap.record_tool_call("work", False, latency_ms, "KeyError")


def by_collector() -> None:
    for latency_ms in BY_HAND_MS:
        metertap.get_collector().record_tool_call("work", True, latency_ms)


def by_configured_lines() -> None:
    shop = importlib.import_module("everyway.shop")
    for _ in range(TIMES):
        shop.run("work", WAIT)


def by_configured_coroutine() -> None:
    shop = importlib.import_module("everyway.shop")

    async def use() -> None:
        for _ in range(TIMES):
            await shop.run_later("work", WAIT)

    asyncio.run(use())


def by_configured_generator() -> None:
    shop = importlib.import_module("everyway.shop")
    for _ in range(TIMES):
        list(shop.run_in_steps("work", WAIT))


def by_patch() -> None:
    """The MCP SDK's server."""
    pytest.importorskip("mcp")
    from servers.mcp_stacks import stacks

    stack = next(stack for stack in stacks() if stack.empty is not None)
    assert stack.empty is not None
    server = stack.empty("shop")

    async def work() -> str:
        await asyncio.sleep(WAIT)
        return "done"

    server.tool()(work)

    async def use() -> None:
        async with stack.connect(server) as session:
            await session.list_tools()
            for _ in range(TIMES):
                await session.call_tool("work", {})
            await asyncio.sleep(WAIT)

    asyncio.run(use())


MEASURED = [
    by_decorator,
    by_decorated_function,
    by_decorated_coroutine,
    by_nested_functions,
    by_decorated_generator,
    by_decorated_async_generator,
    by_block,
    by_failing_block,
    by_failing_function,
    by_configured_lines,
    by_configured_coroutine,
    by_configured_generator,
    by_patch,
]
GIVEN = [by_hand, by_hand_failed, by_collector]
FAILING = (by_failing_block, by_failing_function, by_hand_failed)


def seconds_are_the_same(
    found: Published, metric: str, entry: dict[str, Any], unit: str, **labels: str
) -> None:
    """Compare one histogram's data point, its Prometheus text, and the document's `entry`."""
    [point] = points(found.otlp, metric, "s", **labels)
    prometheus = metric.replace(".", "_") + "_seconds"
    [of_scrape] = [
        labelled
        for name, labelled in found.scrape
        if name == f"{prometheus}_count" and labels.items() <= dict(labelled).items()
    ]
    assert point.count == TIMES
    assert found.scrape[f"{prometheus}_count", of_scrape] == TIMES
    seconds = found.scrape[f"{prometheus}_sum", of_scrape]
    assert seconds == pytest.approx(point.sum)
    assert seconds == pytest.approx(entry[f"total_{unit}"] / 1000)
    assert seconds == pytest.approx(entry[f"avg_{unit}"] * TIMES / 1000)
    assert point.min == pytest.approx(entry[f"min_{unit}"] / 1000)
    assert point.max == pytest.approx(entry[f"max_{unit}"] / 1000)
    bounds = [0.0, *point.explicit_bounds, float("inf")]
    (below, above) = (
        bounds[min(index for index, count in enumerate(point.bucket_counts) if count)],
        bounds[max(index for index, count in enumerate(point.bucket_counts) if count) + 1],
    )
    assert below <= point.min <= point.max <= above
    for bound, count in zip(point.explicit_bounds, _running(point.bucket_counts), strict=False):
        assert found.scrape[f"{prometheus}_bucket", of_scrape | {("le", f"{bound}")}] == count
    assert entry[f"min_{unit}"] <= entry[f"p50_{unit}"] <= entry[f"max_{unit}"]


def _running(counts: Any) -> Iterator[int]:
    total = 0
    for count in counts:
        total += count
        yield total


@pytest.mark.parametrize("way", [*MEASURED, *GIVEN], ids=lambda way: str(way.__name__))
def test_a_call_has_the_same_seconds_in_every_view(
    way: Callable[[], None], published: Publish
) -> None:
    found = published(way)
    entry = found.document["tool_metrics"]["work"]
    ended = outcomes.EXCEPTION if way in FAILING else outcomes.OK
    assert entry["outcomes"][ended] == entry["total_calls"] == TIMES
    labels = {"gen_ai_tool_name": "work"}
    seconds_are_the_same(
        found, catalogue.TOOL_DURATION.name, entry, "latency_ms", **labels, metertap_outcome=ended
    )
    if way in GIVEN:
        assert entry["total_latency_ms"] == sum(BY_HAND_MS)
        assert entry["p50_latency_ms"] == BY_HAND_MS[1]
    else:
        least = WAIT * 0.99  # clocks differ by less than that
        assert TIMES * least <= entry["total_latency_ms"] / 1000 <= found.most
        assert least <= entry["min_latency_ms"] / 1000
    summary = {**labels, "source": entry["source"]}
    name = catalogue.LATENCY_SUMMARY
    assert found.scrape[key(f"{name}_count", **summary)] == TIMES
    total = found.scrape[key(f"{name}_sum", **summary)]
    assert total == pytest.approx(entry["total_latency_ms"] / 1000)
    median = found.scrape[key(name, **summary, quantile="0.5")]
    assert median == pytest.approx(entry["p50_latency_ms"] / 1000)
    longest = found.scrape[key(catalogue.LATENCY_MAX, **summary)]
    assert longest == pytest.approx(entry["max_latency_ms"] / 1000)


@pytest.mark.parametrize(
    "way",
    [by_decorated_generator, by_decorated_async_generator, by_configured_generator],
    ids=lambda way: str(way.__name__),
)
def test_the_time_to_the_first_item_has_the_same_seconds_in_every_view(
    way: Callable[[], None], published: Publish
) -> None:
    found = published(way)
    entry = found.document["tool_metrics"]["work"]
    first = entry["first_item"]
    [point] = points(found.otlp, catalogue.TOOL_FIRST_ITEM.name, "s", gen_ai_tool_name="work")
    name = catalogue.TOOL_FIRST_ITEM.name.replace(".", "_") + "_seconds"
    [labels] = [labelled for sample, labelled in found.scrape if sample == f"{name}_count"]
    assert point.count == first["calls"] == found.scrape[f"{name}_count", labels] == TIMES
    seconds = found.scrape[f"{name}_sum", labels]
    assert seconds == pytest.approx(point.sum)
    assert seconds == pytest.approx(first["avg_latency_ms"] * TIMES / 1000)
    assert seconds >= TIMES * WAIT / 2 * 0.99
    assert seconds + TIMES * WAIT / 2 * 0.99 <= entry["total_latency_ms"] / 1000


@pytest.mark.parametrize(
    ("metric", "side"),
    [(catalogue.SERVER_DURATION, "server"), (catalogue.CLIENT_DURATION, "client")],
    ids=["server", "client"],
)
def test_a_request_has_the_same_seconds_in_every_view(
    metric: catalogue.Metric, side: str, published: Publish
) -> None:
    found = published(by_patch)
    [entry] = [
        item
        for item in found.document["operations"]
        if (item["side"], item["method"], item["name"]) == (side, "tools/call", "work")
    ]
    assert entry["total_calls"] == TIMES
    labels = {"mcp_method_name": "tools/call", "gen_ai_tool_name": "work"}
    seconds_are_the_same(found, metric.name, entry, "latency_ms", **labels)
    assert TIMES * WAIT * 0.99 <= entry["total_latency_ms"] / 1000 <= found.most
    median = found.scrape[
        key(
            catalogue.OPERATION_SUMMARY,
            side=side,
            mcp_method_name="tools/call",
            name="work",
            quantile="0.5",
        )
    ]
    assert median == pytest.approx(entry["p50_latency_ms"] / 1000)


@pytest.mark.parametrize(
    ("metric", "side"),
    [(catalogue.SERVER_SESSION, "server"), (catalogue.CLIENT_SESSION, "client")],
    ids=["server", "client"],
)
def test_a_session_has_the_same_seconds_in_every_view(
    metric: catalogue.Metric, side: str, published: Publish
) -> None:
    def three_sessions() -> None:
        for _ in range(TIMES):
            by_patch()

    found = published(three_sessions)
    [entry] = [item for item in found.document["sessions"] if item["side"] == side]
    assert entry["ended_sessions"] == TIMES
    seconds_are_the_same(found, metric.name, entry, "duration_ms")
    # Each made three calls, and was open for a while after them.
    assert TIMES * (TIMES + 1) * WAIT * 0.99 <= entry["total_duration_ms"] / 1000 <= found.most


def test_a_request_that_is_recorded_by_its_seconds_is_published_with_them(
    published: Publish,
) -> None:
    def record() -> None:
        for seconds in (0.1, 0.2, 3.0):
            state.recorder().record_operation(
                "key", catalogue.SERVER_DURATION, {catalogue.MCP_METHOD: "tools/list"}, seconds
            )

    found = published(record)
    [entry] = found.document["operations"]
    assert entry["total_latency_ms"] == pytest.approx(3300.0)
    assert (entry["p50_latency_ms"], entry["max_latency_ms"]) == (200.0, 3000.0)
    seconds_are_the_same(
        found, catalogue.SERVER_DURATION.name, entry, "latency_ms", mcp_method_name="tools/list"
    )
