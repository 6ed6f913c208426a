"""Whatever `metertap.tool` decorates is counted by how it ends, once for each call."""

from __future__ import annotations

import asyncio
import functools
import inspect
import operator
import pickle
import types
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import metertap
from metertap.recording import Recorder, ToolSeries
from metertap.state import recorder
from support.decorated import async_generator, coroutine, generator, plain
from support.documents import tools
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter


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


@metertap.tool
@functools.lru_cache
def cached(number: int) -> int:
    """A decorated object that is found by its name, as functions are."""
    return number


def test_a_decorated_object_that_has_a_name_is_pickled_by_it() -> None:
    assert pickle.loads(pickle.dumps(cached)) is cached


def test_where_a_tool_is_decorated_is_known() -> None:
    @metertap.tool(name="here")
    def function() -> None:
        pass

    code = inspect.unwrap(function).__code__
    assert recorder().decorated["here"] == (code.co_filename, code.co_firstlineno)
    metertap.tool(name="nowhere")(functools.partial(divmod, 7))
    assert "nowhere" not in recorder().decorated


def test_the_series_of_a_generator_is_found_by_its_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[str] = []
    by_hand = Recorder.tool_by_hand

    def counted(self: Recorder, name: str, source: str) -> ToolSeries:
        found.append(name)
        return by_hand(self, name, source)

    @metertap.tool(name="stepped")
    def stepped() -> Iterator[int]:
        yield 1

    monkeypatch.setattr(Recorder, "tool_by_hand", counted)
    for _ in range(3):
        assert [*stepped()] == [1]
    assert found == ["stepped"]


def test_what_is_no_name_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    wrong: Any = 5
    metertap.tool(name=wrong)(lambda: None)
    assert warnings_of(caplog)[0] == "5 is not a name: the function's own"


def test_a_decorated_object_is_called_by_what_looks_like_its_own_function() -> None:
    class Called:
        def __call__(self, number: int) -> int:
            """Add one."""
            return number + 1

    made: Any = type(metertap.tool(name="called")(Called()))
    assert (made.__call__.__doc__, made.__call__.__wrapped__) == ("Add one.", Called.__call__)
    of_c: Any = type(metertap.tool(name="first")(operator.itemgetter(0)))
    assert not hasattr(of_c.__call__, "__wrapped__")
