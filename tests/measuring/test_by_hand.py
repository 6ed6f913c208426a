"""The manual API: what is counted, under every state that the process can be in."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.measuring import calls
from metertap.measuring.blocks import MeasuredBlock
from metertap.measuring.slots import Slot
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter


def tools() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"]
    return found


@metertap.tool
def plain(fail: bool = False) -> int:
    if fail:
        raise KeyError("plain")
    return 1


@metertap.tool
async def coroutine(fail: bool = False) -> int:
    await asyncio.sleep(0)
    if fail:
        raise KeyError("coroutine")
    return 1


@metertap.tool
def generator(fail: bool = False) -> Iterator[int]:
    yield 1
    if fail:
        raise KeyError("generator")


@metertap.tool
async def async_generator(fail: bool = False) -> AsyncIterator[int]:
    yield 1
    if fail:
        raise KeyError("async generator")


class Shop:
    @metertap.tool
    def method(self, fail: bool = False) -> int:
        return plain.__wrapped__(fail)  # type: ignore[attr-defined]

    @metertap.tool
    @classmethod
    def above_class_method(cls, fail: bool = False) -> int:
        return plain.__wrapped__(fail)  # type: ignore[attr-defined]

    @classmethod
    @metertap.tool
    def below_class_method(cls, fail: bool = False) -> int:
        return plain.__wrapped__(fail)  # type: ignore[attr-defined]

    @metertap.tool
    @staticmethod
    async def above_static_method(fail: bool = False) -> int:
        await asyncio.sleep(0.01)
        return plain.__wrapped__(fail)  # type: ignore[attr-defined]

    @staticmethod
    @metertap.tool
    def below_static_method(fail: bool = False) -> int:
        return plain.__wrapped__(fail)  # type: ignore[attr-defined]


class Called:
    async def __call__(self, fail: bool = False) -> int:
        await asyncio.sleep(0.01)
        return plain.__wrapped__(fail)  # type: ignore[attr-defined]


def run(call: Callable[..., Any], fail: bool) -> None:
    """Call it and take all that it gives."""

    async def exhausted(result: Any) -> None:
        if hasattr(result, "__aiter__"):
            async for _ in result:
                pass
        else:
            await result

    result = call(fail)
    if isinstance(result, Awaitable) or hasattr(result, "__aiter__"):
        asyncio.run(exhausted(result))
    elif isinstance(result, Iterator):
        list(result)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (plain, "plain"),
        (coroutine, "coroutine"),
        (generator, "generator"),
        (async_generator, "async_generator"),
        (Shop().method, "method"),
        (functools.partial(Shop.method, Shop()), "method"),
        (Shop.above_class_method, "above_class_method"),
        (Shop().below_class_method, "below_class_method"),
        (Shop.above_static_method, "above_static_method"),
        (Shop().below_static_method, "below_static_method"),
        (metertap.tool(name="renamed")(len), "renamed"),
        (metertap.tool(name="async object")(Called()), "async object"),
        (metertap.tool(functools.partial(plain.__wrapped__)), "plain"),  # type: ignore[attr-defined]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_decorated_callable_is_counted_by_how_it_ends(
    call: Callable[..., Any], name: str
) -> None:
    metertap.reset()  # decorated above, or while tests were collected
    if name == "renamed":
        call([])
        with pytest.raises(TypeError):
            call(None)
        failure = "TypeError"
    else:
        run(call, False)
        with pytest.raises(KeyError):
            run(call, True)
        failure = "KeyError"
    found = tools()[name]
    assert (found["successful_calls"], found["failed_calls"]) == (1, 1)
    assert found["error_types"] == {failure: 1}
    assert found["outcomes"]["exception"] == 1
    assert found["source"] == "manual"
    assert found["window_samples"] == 2
    assert found["active_calls"] == 0


@pytest.mark.parametrize("call", [Shop.above_static_method, metertap.tool(name="o")(Called())])
def test_what_is_awaited_is_measured_until_it_ends(call: Callable[..., Any]) -> None:
    """A plain wrapper around an async callable would measure the making of a coroutine."""
    metertap.reset()
    run(call, False)
    (found,) = tools().values()
    assert found["min_latency_ms"] >= 9


async def later() -> int:
    return 1


@types.coroutine
def step() -> Iterator[None]:
    yield


async def started() -> asyncio.Future[int]:
    return asyncio.ensure_future(later())


MAKE_LATER: dict[str, Callable[[], Any]] = {
    "coroutine": later,
    "generator": lambda: (number for number in range(3)),
    "async_generator": lambda: async_generator.__wrapped__(),  # type: ignore[attr-defined]
    "Task": lambda: asyncio.run(started()),
}


@pytest.mark.parametrize("is_object", [False, True])
@pytest.mark.parametrize("kind", MAKE_LATER)
def test_a_plain_function_whose_work_is_done_later_is_told_of(
    kind: str, is_object: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its latency would look true; what it returns is handed on untouched."""
    made = MAKE_LATER[kind]()

    class Indirect:
        def __call__(self) -> Any:
            return made

    def indirect() -> Any:
        return made

    tool = metertap.tool(name="indirect")(Indirect() if is_object else indirect)
    for _ in range(2):
        assert tool() is made
    if kind == "coroutine":
        made.close()
    (warning,) = warnings_of(caplog)
    assert f"tool indirect is a plain function and returns a {kind}" in warning


def test_a_function_that_failed_first_is_looked_at_when_it_returns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    results: list[Any] = [KeyError("none yet"), MAKE_LATER["Task"]()]

    @metertap.tool
    def indirect() -> Any:
        result = results.pop(0)
        if isinstance(result, KeyError):
            raise result
        return result

    with pytest.raises(KeyError):
        indirect()
    assert indirect().done()
    (warning,) = warnings_of(caplog)
    assert "tool indirect is a plain function and returns a Task" in warning


def test_a_coroutine_of_the_old_kind_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    metertap.tool(step)()
    (warning,) = warnings_of(caplog)
    assert "tool step is a plain function and returns a generator" in warning


def test_a_decorated_tool_is_in_the_document_before_its_first_call() -> None:
    metertap.tool(name="never called")(len)
    assert tools()["never called"]["total_calls"] == 0
    assert tools()["never called"]["success_rate"] is None


def test_a_cancelled_coroutine_is_cancelled_and_not_failed() -> None:
    async def main() -> None:
        inside = asyncio.Event()

        @metertap.tool
        async def slow() -> None:
            inside.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(slow())
        await inside.wait()
        assert tools()["slow"]["active_calls"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    found = tools()["slow"]
    assert (found["cancelled_calls"], found["failed_calls"], found["active_calls"]) == (1, 0, 0)
    assert found["success_rate"] is None


def test_a_generator_that_is_left_early_is_cancelled() -> None:
    for _ in generator():
        break
    assert wait_for(lambda: tools()["generator"]["cancelled_calls"]) == 1


def test_a_tool_that_calls_itself_makes_a_call_each_time() -> None:
    @metertap.tool
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    assert factorial(4) == 24
    assert tools()["factorial"]["successful_calls"] == 5


def test_calls_in_other_tasks_do_not_make_each_other_nested() -> None:
    async def main() -> None:
        await asyncio.gather(*(coroutine() for _ in range(20)))

    asyncio.run(main())
    assert tools()["coroutine"]["successful_calls"] == 20


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


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"success": True, "latency_ms": 12.5}, ("ok", 1, {})),
        ({"success": True}, ("ok", 0, {})),
        ({"success": True, "error_type": "ignored"}, ("ok", 0, {})),
        ({"success": False}, ("tool_error", 0, {"tool_error": 1})),
        ({"success": False, "latency_ms": 3}, ("tool_error", 1, {"tool_error": 1})),
        ({"success": False, "error_type": "KeyError"}, ("exception", 0, {"KeyError": 1})),
        ({"success": False, "error_type": "ReadTimeout"}, ("timeout", 0, {"ReadTimeout": 1})),
        (
            {"success": False, "latency_ms": 1.0, "error_type": "CancelledError"},
            ("cancelled", 0, {"CancelledError": 1}),
        ),
    ],
)
def test_a_record_by_hand_is_counted_and_its_latency_is_a_sample(
    arguments: dict[str, Any], expected: tuple[str, int, dict[str, int]]
) -> None:
    metertap.record_tool_call("search", **arguments)
    found = tools()["search"]
    ended, samples, error_types = expected
    assert {name: count for name, count in found["outcomes"].items() if count} == {ended: 1}
    assert found["window_samples"] == samples
    assert found["error_types"] == error_types
    assert found["last_call_timestamp"] is not None


@pytest.mark.parametrize(
    ("given", "ended", "error_type"),
    [
        (KeyError("k"), "exception", "KeyError"),
        (TimeoutError, "timeout", "TimeoutError"),
        ("", "tool_error", "tool_error"),
        (5, "exception", "_OTHER"),
    ],
)
def test_an_error_type_is_a_name_an_exception_or_its_class(
    given: Any, ended: str, error_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    metertap.record_tool_call("search", False, 1.0, given)
    found = tools()["search"]
    assert {name: count for name, count in found["outcomes"].items() if count} == {ended: 1}
    assert found["error_types"] == {error_type: 1}
    assert warnings_of(caplog) == (["5 is not an error type"] if given == 5 else [])


def use_everything() -> None:
    assert plain() == 1
    assert list(generator()) == [1]
    assert asyncio.run(coroutine()) == 1
    with pytest.raises(KeyError):
        plain(True)
    with metertap.measure_tool("block"):
        pass
    metertap.record_tool_call("record", True, 1.0)
    prompts = metertap.cache_meter("prompts")
    prompts.hit()
    prompts.evicted()
    metertap.record_cache_miss("prompts")
    metertap.record_cache_size_rejection("prompts")


@pytest.mark.parametrize(
    "variable", ["PERFORMANCE_METRICS_ENABLED=false", "OTEL_SDK_DISABLED=true"]
)
@pytest.mark.parametrize("instrumented", [True, False])
def test_disabled_nothing_is_counted_and_everything_works(
    variable: str, instrumented: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable.split("="))
    if instrumented:
        assert not metertap.instrument().is_active
    use_everything()
    metertap.tool(len)
    document = metertap.get_all_metrics()
    assert document["enabled"] is False
    assert (document["tool_metrics"], document["cache_metrics"]) == ({}, {})


def test_calls_are_counted_before_instrument_and_not_after_shutdown() -> None:
    use_everything()
    with metertap.instrument(json_endpoint=False) as tap:
        assert tap.snapshot()["tool_metrics"]["plain"]["total_calls"] == 2
        use_everything()
    use_everything()
    assert tools()["plain"]["total_calls"] == 4
    assert tools()["record"]["successful_calls"] == 2
    assert metertap.get_all_metrics()["cache_metrics"]["prompts"]["total_requests"] == 4
    assert tap.snapshot()["tool_metrics"] == tools()


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


def test_an_interrupt_cancels_the_call_whoever_counts_it() -> None:
    interrupt = KeyboardInterrupt()

    def stop() -> str:
        """Stop."""
        raise interrupt

    def block() -> None:
        with metertap.measure_tool("block"):
            raise interrupt

    async def awaited() -> None:
        raise interrupt

    with metertap.instrument(json_endpoint=False) as tap:
        framework = pytest.importorskip("langchain_core.tools").tool("framework")(stop)
        decorated = metertap.tool(name="decorated")(stop)
        coroutine = metertap.tool(name="coroutine")(awaited)
        for call in (
            decorated,
            block,
            lambda: framework.invoke({}),
            lambda: coroutine().send(None),
        ):
            with pytest.raises(KeyboardInterrupt) as raised:
                call()
            assert raised.value is interrupt
        metertap.record_tool_call("recorded", False, 1.0, "KeyboardInterrupt")
        found = tap.snapshot()["tool_metrics"]
    assert set(found) == {"decorated", "coroutine", "block", "framework", "recorded"}
    for tool in found.values():
        assert tool["outcomes"]["cancelled"] == tool["total_calls"] == 1
        assert tool["failed_calls"] == tool["window_samples"] == 0
