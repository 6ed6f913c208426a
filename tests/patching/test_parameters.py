"""A function that is written with the parameters of another one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import metertap
from metertap.patching.parameters import shaped

pytestmark = pytest.mark.interpreter

PARTS = """
{kind} call({parameters}):
    return {first}, {args}, {kwargs}
"""


def plain(self: Any, a: Any, b: Any = 2) -> Any: ...
def mixed(self: Any, a: Any, /, b: Any, c: Any = 3, *, d: Any, e: Any = 5) -> Any: ...
def anything(*args: Any, **kwargs: Any) -> Any: ...
def more(self: Any, a: Any = 1, *rest: Any, b: Any = 2, **named: Any) -> Any: ...
def by_name(*, a: Any, b: Any = 2) -> Any: ...
def nothing() -> Any: ...


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "parts"),
    [
        (plain, (0, 1), {}, (0, (1, 2), {})),
        (plain, (0,), {"b": 4, "a": 3}, (0, (3, 4), {})),
        (mixed, (0, 1, 2), {"d": 4}, (0, (1, 2, 3), {"d": 4, "e": 5})),
        (anything, (0, 1), {"x": 2}, (0, (1,), {"x": 2})),
        (anything, (), {}, (None, (), {})),
        (more, (0,), {}, (0, (1,), {"b": 2})),
        (more, (0, 1, 2, 3), {"b": 4, "x": 5}, (0, (1, 2, 3), {"b": 4, "x": 5})),
        (by_name, (), {"a": 1}, (None, (), {"a": 1, "b": 2})),
        (nothing, (), {}, (None, (), {})),
    ],
)
def test_what_takes_the_arguments_apart_gets_all_of_them(
    function: Callable[..., Any], args: Any, kwargs: Any, parts: Any
) -> None:
    made = shaped(function, PARTS)
    assert made(*args, **kwargs) == parts
    assert inspect.getfullargspec(made)[:6] == inspect.getfullargspec(function)[:6]


def of_odd_names(id: Any, type: Any = 2, *_parent: Any, _frame: Any, **series: Any) -> Any:
    """A function whose parameters have names of built-in functions and of variables of ours."""
    return id, type, _parent, _frame, series


def test_a_parameter_may_have_any_name() -> None:
    measured = metertap.tool(of_odd_names)
    for _ in range(2):
        assert measured(1, _frame=4, slot=5) == (1, 2, (), 4, {"slot": 5})
        assert measured(1, 7, 8, _frame=9) == (1, 7, (8,), 9, {})


def test_functions_of_one_shape_have_names_of_their_own() -> None:
    def one(a: Any, *, b: Any = 1) -> Any:
        return "one", a, b

    def other(c: Any, *, d: Any) -> Any:
        return "other", c, d

    async def later(e: Any, *, f: Any) -> Any:
        return "later", e, f

    measured = metertap.tool(one), metertap.tool(other), metertap.tool(later)
    assert measured[0](a=1, b=2) == ("one", 1, 2)
    assert measured[1](c=3, d=4) == ("other", 3, 4)
    assert asyncio.run(measured[2](e=5, f=6)) == ("later", 5, 6)
    with pytest.raises(TypeError, match=r"other\(\) missing 1 required keyword-only argument: 'd'"):
        measured[1](3)


def test_a_default_is_the_same_object_and_may_be_changed() -> None:
    default: list[int] = []

    def function(a: Any = default, *, b: Any = default) -> Any:
        return a, b

    measured: Any = metertap.tool(function)
    assert measured()[0] is measured()[1] is default
    measured.__defaults__, measured.__kwdefaults__["b"] = (3,), 4
    assert measured() == (3, 4)
