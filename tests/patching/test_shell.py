"""What takes a method's place has the method's own parameters, and tells who stands around it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from metertap import faults
from metertap.patching.shell import around


def plain(self: Any, a: Any, b: Any = 2) -> Any:
    return self, a, b


def only_positional(self: Any, a: Any, b: Any = 2, /) -> Any:
    return self, a, b


def mixed(self: Any, a: Any, /, b: Any, c: Any = 3, *, d: Any, e: Any = 5) -> Any:
    return self, a, b, c, d, e


def anything(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def named_and_more(self: Any, a: Any = 1, *more: Any, b: Any = 2, **rest: Any) -> Any:
    return self, a, more, b, rest


def odd_names(self: Any, result: Any, error: Any = 1, *, note: Any = 2) -> Any:
    return self, result, error, note


METHODS = [plain, only_positional, mixed, anything, named_and_more, odd_names]
CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((0,), {}),
    ((0, 1), {}),
    ((0, 1, 2), {}),
    ((0, 1, 2, 3), {"d": 4}),
    ((0, 1), {"b": 7, "d": 4, "e": 6}),
    ((0,), {"a": 1}),
    ((0,), {"result": 1, "note": 3}),
    ((0, 1, 2, 3, 4), {"x": 5}),
]


def outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> object:
    try:
        return function(*args, **kwargs)
    except TypeError:
        return TypeError


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_each_call_is_passed_on_as_it_was_made(method: Callable[..., Any]) -> None:
    seen: list[Any] = []

    def begin(*args: Any, **kwargs: Any) -> None:
        seen.append(method(*args, **kwargs))

    shell = around("test", begin)(method, [True])
    assert inspect.signature(shell).parameters.keys() == inspect.signature(method).parameters.keys()
    for args, kwargs in CALLS:
        seen.clear()
        expected = outcome(method, args, kwargs)
        assert outcome(shell, args, kwargs) == expected
        assert seen == ([] if expected is TypeError else [expected])


def test_a_default_is_the_same_object() -> None:
    default = object()

    def method(self: Any, a: Any = default, *, b: Any = default) -> Any:
        return a, b

    assert around("test", lambda *_args, **_named: None)(method, [True])(0) == (default, default)


def test_a_note_comes_back_with_the_result_or_the_error() -> None:
    told: list[Any] = []
    make = around(
        "test",
        lambda self, fails: ("note", fails),
        lambda note, result: told.append((note, result)),
        lambda note, error: told.append((note, type(error))),
    )

    def method(self: Any, fails: bool) -> int:
        if fails:
            raise KeyError
        return 7

    async def later(self: Any, fails: bool) -> int:
        return method(self, fails)

    made, made_later = make(method, [True]), make(later, [True])
    assert inspect.iscoroutinefunction(made_later)
    assert not inspect.iscoroutinefunction(made)
    for call in (made, lambda *args: asyncio.run(made_later(*args))):
        told.clear()
        assert call(0, False) == 7
        with pytest.raises(KeyError):
            call(0, True)
        assert told == [(("note", False), 7), (("note", True), KeyError)]


def test_nothing_is_told_where_there_is_no_note_or_the_patch_is_undone() -> None:
    told: list[Any] = []
    make = around("test", lambda self: None, lambda *both: told.append(both))
    assert make(lambda self: 7, [True])(0) == 7
    live = [True]
    shell = around("test", told.append, lambda *both: told.append(both))(lambda self: 7, live)
    live.clear()
    assert shell(0) == 7
    assert told == []


@pytest.mark.faults
def test_a_fault_of_what_stands_around_reaches_nobody() -> None:
    def broken(*_args: Any) -> Any:
        raise ZeroDivisionError

    def method(self: Any, fails: bool) -> int:
        if fails:
            raise KeyError
        return 7

    for make in (around("shell", broken), around("shell", lambda *_: 1, broken, broken)):
        before = faults.fault_counts().get("shell", 0)
        shell = make(method, [True])
        assert shell(0, False) == 7
        with pytest.raises(KeyError):
            shell(0, True)
        assert faults.fault_counts()["shell"] == before + 2
    faults.reset()
