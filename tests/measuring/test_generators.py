"""A measured generator is driven exactly as the plain one: scripts of steps, run on both."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
import traceback
import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from kits.cache_kit import shows_us
from metertap.measuring import calls, functions, generators
from metertap.measuring.slots import ToolSlot
from metertap.recording.buffer import CHUNK
from support import metric_data
from support.stopped_clock import stopped

pytestmark = pytest.mark.interpreter

Step = tuple[str, Any]


class Stop(Exception):
    """Thrown in by scripts."""


def counting(log: list[Any]) -> Generator[Any, Any, Any]:
    received = yield 0
    while received != "return":
        received = yield ("got", received)
    return "returned"


def catching(log: list[Any]) -> Generator[Any, Any, Any]:
    while True:
        try:
            received = yield "ready"
        except Stop as error:
            log.append(("caught", error.args))
            yield "caught"
            continue
        finally:
            log.append("finally")
        if received == "raise":
            raise ValueError("raised on demand")


def translating(log: list[Any]) -> Generator[Any, Any, Any]:
    try:
        yield 1
        yield 2
    except Exception as error:
        raise RuntimeError("translated") from error
    finally:
        log.append(sys.exc_info()[0])


def stubborn(log: list[Any]) -> Generator[Any, Any, Any]:
    try:
        yield "first"
    except GeneratorExit:
        yield "will not go"


def leaving_politely(log: list[Any]) -> Generator[Any, Any, Any]:
    try:
        yield "first"
    except (GeneratorExit, Stop):
        return "gone"


def stopping_wrongly(log: list[Any]) -> Generator[Any, Any, Any]:
    yield 1
    raise StopIteration("a defect: Python makes it a RuntimeError")


GENERATORS = [counting, catching, translating, stubborn, leaving_politely, stopping_wrongly]


async def counting_async(log: list[Any]) -> AsyncGenerator[Any, Any]:
    received = yield 0
    while received != "return":
        await asyncio.sleep(0)
        received = yield ("got", received)


async def catching_async(log: list[Any]) -> AsyncGenerator[Any, Any]:
    while True:
        try:
            received = yield "ready"
        except Stop as error:
            log.append(("caught", error.args))
            yield "caught"
            continue
        finally:
            await asyncio.sleep(0)
            log.append("finally")
        if received == "raise":
            raise ValueError("raised on demand")


async def translating_async(log: list[Any]) -> AsyncGenerator[Any, Any]:
    try:
        yield 1
        yield 2
    except Exception as error:
        raise RuntimeError("translated") from error
    finally:
        log.append(sys.exc_info()[0])


async def stubborn_async(log: list[Any]) -> AsyncGenerator[Any, Any]:
    try:
        yield "first"
    except GeneratorExit:
        yield "will not go"


async def leaving_politely_async(log: list[Any]) -> AsyncGenerator[Any, Any]:
    try:
        yield "first"
    except (GeneratorExit, Stop):
        return


async def stopping_wrongly_async(log: list[Any]) -> AsyncGenerator[Any, Any]:
    yield 1
    raise StopAsyncIteration("a defect: Python makes it a RuntimeError")


ASYNC_GENERATORS = [
    counting_async,
    catching_async,
    translating_async,
    stubborn_async,
    leaving_politely_async,
    stopping_wrongly_async,
]

steps = st.one_of(
    st.tuples(st.just("send"), st.sampled_from([None, 1, "return", "raise"])),
    st.tuples(
        st.just("throw"),
        st.sampled_from([Stop("thrown"), StopIteration(7), StopAsyncIteration(), GeneratorExit()]),
    ),
    st.just(("close", None)),
)
# Started first: what is thrown into a generator that never ran does not reach the wrapper's code.
# Closed last, twice for the stubborn: when an abandoned one is finalised is the collector's choice.
scripts = st.lists(steps, max_size=6).map(
    lambda rest: [("send", None), *rest, ("close", None), ("close", None)]
)


def described(error: BaseException | None) -> Any:
    """What a program could tell of an exception: class, arguments, causes, frames."""
    if error is None:
        return None
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    if sys.version_info < (3, 11):
        ours = {"call", "steps", "async_steps"}  # there these stay
        frames = [name for name in frames if name not in ours]
    return (
        type(error),
        error.args,
        frames,
        described(error.__cause__),
        described(error.__context__),
    )


def fresh(step: Step) -> Step:
    """A script's exceptions anew: each run leaves its traces on them."""
    kind, value = step
    return (kind, type(value)(*value.args)) if isinstance(value, BaseException) else step


def drive(generator: Generator[Any, Any, Any], script: list[Step], log: list[Any]) -> list[Any]:
    for kind, value in map(fresh, script):
        try:
            if kind == "send":
                log.append(generator.send(value))
            elif kind == "throw":
                log.append(generator.throw(value))
            else:
                log.append(generator.close())
        except BaseException as error:
            log.append(described(error))
    return log


async def drive_async(
    generator: AsyncGenerator[Any, Any], script: list[Step], log: list[Any]
) -> list[Any]:
    for kind, value in map(fresh, script):
        try:
            if kind == "send":
                log.append(await generator.asend(value))
            elif kind == "throw":
                log.append(await generator.athrow(value))
            else:
                log.append(await generator.aclose())
        except BaseException as error:
            log.append(described(error))
    return log


@pytest.mark.parametrize("function", GENERATORS)
@given(script=scripts)
def test_a_measured_generator_does_what_the_plain_one_does(
    function: Callable[..., Any], script: list[Step]
) -> None:
    plain: list[Any] = []
    measured: list[Any] = []
    drive(function(plain), script, plain)
    drive(metertap.tool(function)(measured), script, measured)
    assert measured == plain


@pytest.mark.parametrize("function", ASYNC_GENERATORS)
@given(script=scripts)
def test_a_measured_async_generator_does_what_the_plain_one_does(
    function: Callable[..., Any], script: list[Step]
) -> None:
    async def both() -> tuple[list[Any], list[Any]]:
        plain: list[Any] = []
        measured: list[Any] = []
        await drive_async(function(plain), script, plain)
        await drive_async(metertap.tool(function)(measured), script, measured)
        return measured, plain

    measured, plain = asyncio.run(both())
    assert measured == plain


def figures(name: str) -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"][name]
    return found


def test_the_time_to_the_first_item_is_told_apart_from_that_to_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = stopped(monkeypatch, calls, functions, generators)

    @metertap.tool
    def stream(items: int) -> Generator[int, None, None]:
        for item in range(items):
            yield item
            clock.takes(0.01)

    with metertap.instrument(json_endpoint=False):
        for items in (2, 3, 0):
            assert list(stream(items)) == list(range(items))
        found = figures("stream")
    assert (found["total_calls"], found["first_item"]["calls"]) == (3, 2)
    assert found["first_item"]["p50_latency_ms"] == 0
    assert found["max_latency_ms"] == pytest.approx(30)


def test_the_time_to_the_first_item_of_an_async_generator_is_exported() -> None:
    @metertap.tool(name="stream")
    async def stream() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    async def main() -> list[int]:
        return [item async for item in stream()]

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with metertap.instrument(meter_provider=provider):
        assert asyncio.run(main()) == [1, 2]
        points = metric_data.points(reader, "metertap.tool.time_to_first_item")
        assert figures("stream")["first_item"]["calls"] == 1
    assert [(dict(point.attributes), point.count) for point in points] == [
        ({"gen_ai.tool.name": "stream"}, 1)
    ]


def test_a_tool_that_yields_nothing_says_nothing_of_first_items() -> None:
    with metertap.instrument(json_endpoint=False):
        metertap.tool(name="search")(lambda: None)()
        assert figures("search")["first_item"] is None


def test_generators_in_progress_are_known_after_more_calls_than_are_folded_at_once() -> None:
    @metertap.tool(name="streams often")
    def streams() -> Generator[int, None, None]:
        yield 1

    for _ in range(2 * CHUNK + 10):
        assert list(streams()) == [1]
    left_open = streams()
    next(left_open)
    found = metertap.get_all_metrics()["tool_metrics"]["streams often"]
    assert (found["total_calls"], found["active_calls"]) == (2 * CHUNK + 10, 1)
    left_open.close()


def test_a_generator_that_is_awaited_can_still_be() -> None:
    @metertap.tool(name="old")
    @types.coroutine
    def old() -> Generator[Any, Any, int]:
        yield from asyncio.sleep(0).__await__()
        return 5

    async def main() -> int:
        return await old()

    with metertap.instrument(json_endpoint=False):
        assert asyncio.run(main()) == 5
        assert figures("old")["total_calls"] == 1


def test_a_generator_that_is_not_measured_stands_in_nobodys_way() -> None:
    slot = ToolSlot("stream", "library")
    slot.close()
    seen: list[Any] = []

    def items() -> Generator[int, None, None]:
        seen.append(calls.around())
        yield 1

    async def items_later() -> AsyncGenerator[int, None]:
        seen.append(calls.around())
        yield 2

    async def last() -> int:
        wrapper = generators.async_generator_wrapper(items_later, lambda *_call: slot)
        return [item async for item in wrapper(items_later, None, (), {})][-1]

    with metertap.measure_tool("outer"):
        frame = calls.around()
        wrapper = generators.generator_wrapper(items, lambda *_call: slot)
        assert list(wrapper(items, None, (), {})) == [1]
        assert asyncio.run(last()) == 2
    assert frame is not None
    assert [item is frame for item in seen] == [True, True]
    assert list(metertap.get_all_metrics()["tool_metrics"]) == ["outer"]


def test_arguments_that_do_not_fit_are_told_of_at_the_call() -> None:
    @metertap.tool
    def stream(items: int) -> Generator[int, None, None]:
        yield from range(items)

    @metertap.tool
    async def later(items: int) -> AsyncGenerator[int, None]:
        yield items

    for function in (stream, later):
        with pytest.raises(TypeError, match="unexpected keyword argument") as raised:
            function(number=3)  # type: ignore[call-arg]
        assert not shows_us(raised.value)


@metertap.tool
def steps() -> Generator[int, None, None]:
    """A decorated generator function that is found by its name, as others are."""
    yield 1


def test_a_decorated_generator_function_is_copied_and_pickled_by_its_name() -> None:
    assert copy.copy(steps) is steps
    assert copy.deepcopy(steps) is steps
    assert pickle.loads(pickle.dumps(steps)) is steps
