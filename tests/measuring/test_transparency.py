"""A decorated function is the function, to everything that can ask."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import logging
import pickle
import sys
import traceback
import typing
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.measuring.unfinished import Unrun

pytestmark = pytest.mark.interpreter


def plain(number: int, *, text: str = "x") -> str:
    """What it does."""
    return text * number


async def coroutine(number: int) -> str:
    """What it does."""
    return str(number)


def generator(number: int) -> Iterator[int]:
    """What it does."""
    yield number


async def async_generator(number: int) -> AsyncIterator[int]:
    """What it does."""
    yield number


@metertap.tool
def importable(number: int) -> int:
    return number + 1


@metertap.tool
@functools.cache
def remembered(number: int) -> int:
    return number + 1


class Shop:
    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shop) and other.factor == self.factor

    __hash__ = None  # type: ignore[assignment]

    @metertap.tool
    def times(self, number: int) -> int:
        return number * self.factor

    @metertap.tool
    @classmethod
    def twice(cls, number: int) -> int:
        return 2 * number

    @staticmethod
    @metertap.tool
    def negative(number: int) -> int:
        return -number


def sample(number: int) -> int:
    return number


@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator])
@pytest.mark.parametrize(
    "ask",
    [
        inspect.signature,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.isfunction,
        inspect.getdoc,
        inspect.getsource,
        typing.get_type_hints,
        lambda function: function.__name__,
        lambda function: function.__qualname__,
        lambda function: function.__module__,
        lambda function: function.__annotations__,
        lambda function: function.__defaults__,
        lambda function: function.__class__,
    ],
)
def test_a_decorated_function_answers_as_the_function(
    function: Callable[..., Any], ask: Callable[[Any], Any]
) -> None:
    assert ask(metertap.tool(function)) == ask(function)


@pytest.mark.parametrize("function", [coroutine, generator, async_generator])
def test_what_a_decorated_function_makes_is_called_as_what_the_function_makes(
    function: Callable[..., Any],
) -> None:
    """Names of coroutines are what asyncio's debug mode and "was never awaited" show."""
    made = metertap.tool(function)(1)
    assert (made.__name__, made.__qualname__) == (function.__name__, function.__qualname__)
    if inspect.iscoroutine(made):
        made.close()


class Compiled:
    """Has what a coroutine of code compiled by Cython has, which is not Python's own type."""

    cr_frame = None
    is_closed = False

    def __await__(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        self.is_closed = True


def test_a_coroutine_of_compiled_code_is_closed_with_the_one_that_stands_for_it() -> None:
    compiled = Compiled()
    unrun = Unrun(compiled)
    assert not compiled.is_closed
    del unrun
    assert compiled.is_closed


class Custom(Exception):
    pass


@dataclass(frozen=True)
class Frozen(Exception):
    """An exception whose attributes cannot be set."""

    reason: str


class Unasked(Exception):
    """An exception that does not say what its traceback is, as a careless proxy of one may do."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__traceback__":
            raise RuntimeError(name)
        return super().__getattribute__(name)


class Interrupting(BaseException):
    pass


def raising(error: BaseException) -> None:
    raise error


async def raising_coroutine(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def raising_generator(error: BaseException) -> Iterator[int]:
    yield 1
    raise error


async def raising_async_generator(error: BaseException) -> AsyncIterator[int]:
    yield 1
    raise error


def outcome_of(function: Callable[..., Any], *arguments: Any) -> BaseException:
    """The exception that a call ends with."""

    async def consumed(made: Any) -> None:
        async for _ in made:
            pass

    try:
        made = function(*arguments)
        if inspect.iscoroutine(made):
            asyncio.run(made)
        elif inspect.isasyncgen(made):
            asyncio.run(consumed(made))
        elif inspect.isgenerator(made):
            list(made)
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot leave a frame out")
@pytest.mark.parametrize(
    "error",
    [
        Custom("x"),
        Frozen("x"),
        Unasked("x"),
        Interrupting("x"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
    ],
)
@pytest.mark.parametrize(
    "function", [raising, raising_coroutine, raising_generator, raising_async_generator]
)
def test_an_exception_passes_unchanged_with_its_traceback(
    function: Callable[..., Any], error: BaseException
) -> None:
    frames = []
    for measured in (function, metertap.tool(function)):
        BaseException.with_traceback(error, None)
        raised = outcome_of(measured, error)
        assert raised is error
        assert raised.__context__ is None
        own = BaseException.__dict__["__traceback__"].__get__(raised)
        frames.append([frame.name for frame in traceback.extract_tb(own)])
    assert frames[1] == frames[0]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot leave a frame out")
def test_wrong_arguments_raise_in_the_callers_frame() -> None:
    error = outcome_of(importable)
    assert isinstance(error, TypeError)
    assert str(error) == "importable() missing 1 required positional argument: 'number'"
    assert len(traceback.extract_tb(error.__traceback__)) == 1


def deprecated() -> None:
    warnings.warn("use another one", DeprecationWarning, stacklevel=2)


async def deprecated_later() -> None:
    warnings.warn("use another one", DeprecationWarning, stacklevel=2)


@pytest.mark.parametrize("function", [deprecated, deprecated_later])
def test_a_warning_about_the_caller_is_about_the_programs_own_line(
    function: Callable[[], Any],
) -> None:
    async def wait_for(function: Callable[[], Any]) -> None:
        await function()

    def told(function: Callable[[], Any]) -> list[tuple[str, int]]:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            if inspect.iscoroutinefunction(function):
                asyncio.run(wait_for(function))
            else:
                function()
        return [(Path(one.filename).name, one.lineno) for one in seen]

    expected = told(function)
    assert [name for name, _ in expected] == [Path(__file__).name]
    assert told(metertap.tool(function)) == expected


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before, logging passes over no frames")
def test_a_record_about_the_caller_is_about_the_programs_own_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @metertap.tool
    def logged() -> None:
        logging.getLogger("program").warning("called", stacklevel=2)

    logged()
    (record,) = caplog.records
    assert record.filename == Path(__file__).name
    assert record.funcName == inspect.currentframe().f_code.co_name  # type: ignore[union-attr]


def test_a_call_leaves_nothing_behind_that_only_the_collector_frees() -> None:
    class Owned:
        pass

    @metertap.tool
    def failing(owned: Owned) -> None:
        raise Custom

    @metertap.tool
    def stepping(owned: Owned) -> Iterator[int]:
        try:
            yield 1
        except Custom:
            yield 2

    gc.disable()
    try:
        owned = Owned()
        gone = weakref.ref(owned)
        try:
            failing(owned)
        except Custom:
            pass
        made = stepping(owned)
        next(made)
        made.throw(Custom())
        made.close()
        del made, owned
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "function",
    [
        importable,
        Shop(3).times,
        Shop.times,
        Shop.twice,
        Shop.negative,
        functools.partial(importable, 4),
        functools.partial(Shop(3).times, 4),
    ],
)
@pytest.mark.parametrize(
    "copied",
    [
        *(
            functools.partial(lambda protocol, it: pickle.loads(pickle.dumps(it, protocol)), number)
            for number in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_pickles_and_copies_are_as_good_as_the_original(
    function: Callable[..., int], copied: Callable[[Any], Callable[..., int]]
) -> None:
    arguments = () if isinstance(function, functools.partial) else (5,)
    if function == Shop.times:
        arguments = (Shop(2), 5)
    again = copied(function)
    metertap.reset()
    assert again(*arguments) == function(*arguments)
    (found,) = metertap.get_all_metrics()["tool_metrics"].values()
    assert found["total_calls"] == 2  # the copy is measured too


def test_a_copy_of_a_function_is_that_function() -> None:
    assert copy.copy(importable) is importable
    assert copy.deepcopy({"tool": importable})["tool"] is importable
    assert pickle.loads(pickle.dumps(importable)) is importable
    compiled = metertap.tool(len)
    assert copy.copy(compiled) is compiled
    assert copy.deepcopy({"tool": compiled})["tool"] is compiled


def test_an_object_that_is_pickled_by_its_name_is_so_decorated() -> None:
    assert pickle.loads(pickle.dumps(remembered)) is remembered
    assert pickle.loads(pickle.dumps(functools.partial(remembered, 4)))() == 5


def test_a_deep_copy_of_a_bound_method_is_bound_to_a_copy() -> None:
    shop = Shop(3)
    again = copy.deepcopy([shop.times, shop])
    assert again[0].__self__ is again[1]
    assert again[1] is not shop


def test_a_local_function_cannot_be_pickled_measured_or_not() -> None:
    @metertap.tool
    def local() -> None:
        pass

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def test_decorated_functions_are_weakly_referenced_compared_and_hashed() -> None:
    decorated = metertap.tool(sample)
    assert weakref.ref(decorated)() is decorated
    assert len({decorated, decorated}) == 1
    shop = Shop(3)
    assert shop.times == shop.times


def test_a_subclass_and_super_see_the_method() -> None:
    class Branch(Shop):
        def times(self, number: int) -> int:
            return super().times(number) + 100

    assert Branch(3).times(2) == 106
