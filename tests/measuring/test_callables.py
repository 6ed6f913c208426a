"""Whatever can be decorated has a good name, is counted, and stays what it was."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import operator
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

import metertap
from metertap import faults
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter


def query(database: str, text: str) -> tuple[str, str]:
    return database, text


async def query_later(database: str, text: str) -> tuple[str, str]:
    return database, text


def query_in_steps(database: str, text: str) -> Iterator[str]:
    yield from (database, text)


class Search:
    """A callable object."""

    def __call__(self, text: str) -> str:
        return text


class SearchLater:
    """An async callable object."""

    async def __call__(self, text: str) -> str:
        return text


class Shop:
    stock = 3

    def find(self, database: str, text: str) -> tuple[int, str, str]:
        return self.stock, database, text

    async def find_later(self, database: str, text: str) -> tuple[int, str, str]:
        return self.stock, database, text

    def count(self) -> int:
        """How many there are."""
        return self.stock

    def total(self, number: int) -> int:
        return self.stock * number


def counted() -> dict[str, int]:
    tools = metertap.get_all_metrics()["tool_metrics"]
    return {name: tool["total_calls"] for name, tool in tools.items()}


def run(result: Any) -> Any:
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    return list(result) if isinstance(result, Iterator) else result


def twice(function: Any) -> Any:
    return metertap.tool(metertap.tool(function))


@pytest.mark.parametrize("decorate", [metertap.tool, twice])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (functools.partial(query, "users"), ("x",), "query"),
        (functools.partial(functools.partial(query, "users"), "x"), (), "query"),
        (functools.partial(query_later, "users"), ("x",), "query_later"),
        (functools.partial(query_in_steps, "users"), ("x",), "query_in_steps"),
        (functools.partial(Shop().total, 2), (), "total"),
        (functools.partial(Search(), "x"), (), "Search"),
        (Search(), ("x",), "Search"),
        (SearchLater(), ("x",), "SearchLater"),
        (Search.__call__, (Search(), "x"), "Search"),
        (SearchLater().__call__, ("x",), "SearchLater"),
        (Shop().total, (2,), "total"),
        (len, ("abc",), "len"),
        ("abc".upper, (), "upper"),
        (operator.itemgetter(0), ("abc",), "itemgetter"),
        (functools.lru_cache(query), ("a", "b"), "query"),
        (functools.singledispatch(query), ("a", "b"), "query"),
    ],
)
def test_a_callable_is_counted_under_its_own_name(
    decorate: Callable[[Any], Any],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = run(function(*arguments))
    assert run(decorate(function)(*arguments)) == expected
    assert counted() == {name: 1}
    assert warnings_of(caplog) == []


DESCRIPTORS: list[tuple[Any, Callable[[Any], Any], str]] = [
    (property(Shop.count), lambda found: found, "count"),
    (functools.cached_property(Shop.count), lambda found: found, "count"),
    (functools.partialmethod(Shop.find, "users"), lambda found: found("x"), "find"),
    (functools.partialmethod(Shop.find_later, "users"), lambda found: found("x"), "find_later"),
    (staticmethod(query), lambda found: found("a", "b"), "query"),
    (staticmethod(query_later), lambda found: found("a", "b"), "query_later"),
    (classmethod(Shop.total), lambda found: found(2), "total"),
    (functools.singledispatchmethod(Shop.total), lambda found: found(2), "total"),
    (functools.singledispatchmethod(Shop.find_later), lambda found: found("a", "b"), "find_later"),
]


@pytest.mark.parametrize("decorate", [metertap.tool, twice])
@pytest.mark.parametrize(
    ("descriptor", "use", "name"),
    DESCRIPTORS,
    ids=lambda it: it if isinstance(it, str) else type(it).__name__,
)
def test_a_descriptor_gives_what_it_gave_and_is_counted(
    decorate: Callable[[Any], Any],
    descriptor: Any,
    use: Callable[[Any], Any],
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bare = type("Bare", (Shop,), {"thing": descriptor})
    measured = type("Measured", (Shop,), {"thing": decorate(descriptor)})
    expected, found = run(use(bare().thing)), run(use(measured().thing))
    assert (type(found), found) == (type(expected), expected)
    assert counted() == {name: 1}
    assert warnings_of(caplog) == []


def test_a_class_whose_objects_are_called_is_one_tool_with_them() -> None:
    class Sort:
        @metertap.tool
        def __call__(self) -> int:
            return 1

    assert (Sort()(), metertap.tool(Sort())()) == (1, 1)
    assert counted() == {"Sort": 2}


def test_a_property_stays_one() -> None:
    class Priced:
        price = 1

        @metertap.tool
        @property
        def current(self) -> int:
            """The price now."""
            return self.price

        @current.setter
        def current(self, price: int) -> None:
            self.price = price

    priced = Priced()
    priced.current = 5
    assert priced.current == 5
    assert isinstance(vars(Priced)["current"], property)
    assert Priced.current.__doc__ == "The price now."
    assert counted() == {"current": 1}


def test_lambdas_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for function in (lambda: 1, lambda: 2):
        metertap.tool(function)()
    assert counted() == {"<lambda>": 2}
    (warning,) = warnings_of(caplog)
    assert 'metertap.tool(name="search")' in warning
    assert metertap.tool(name="three")(lambda: 3)() == 3
    assert counted()["three"] == 1


@pytest.mark.parametrize("thing", [5, property(), object(), Search])
def test_what_cannot_be_measured_is_left_alone_and_told_of(
    thing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert metertap.tool(thing) is thing
    (warning,) = warnings_of(caplog)
    assert "cannot measure" in warning
    assert counted() == {}


def test_a_callable_that_answers_wrongly_is_named_after_its_class() -> None:
    class Hostile:
        @property
        def __name__(self) -> str:
            raise RuntimeError

        def __call__(self) -> int:
            return 1

    hostile = Hostile()
    assert metertap.tool(hostile)() == 1
    assert counted() == {"Hostile": 1}
    assert faults.fault_counts() == {}


def test_an_object_that_is_marked_as_a_coroutine_function_is_measured_to_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    marked = metertap.tool(name="later")(mock.AsyncMock(return_value=1))
    assert inspect.iscoroutinefunction(marked)
    assert asyncio.run(marked()) == 1
    assert counted() == {"later": 1}
    assert warnings_of(caplog) == []


def test_the_coroutine_of_a_measured_method_shows_the_methods_name() -> None:
    made = metertap.tool(Shop().find_later)("users", "x")
    assert (made.__name__, made.__qualname__) == ("find_later", "Shop.find_later")
    assert asyncio.run(made) == (3, "users", "x")


@pytest.mark.parametrize("is_failing", [False, True])
def test_a_clock_that_a_test_puts_in_place_of_the_systems_is_asked_by_nobody_else(
    *, is_failing: bool
) -> None:
    @metertap.tool
    def search() -> None:
        if is_failing:
            raise ValueError

    with metertap.instrument(json_endpoint=False):
        with contextlib.suppress(ValueError):
            search()  # the first calls import what counts them
        with mock.patch("time.perf_counter", side_effect=[1.0, 3.0]):
            began = time.perf_counter()
            with contextlib.suppress(ValueError):
                search()
            assert time.perf_counter() - began == 2.0
