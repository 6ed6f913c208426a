"""Every kind of stand-in is held, compared, copied, pickled and inherited as what it stands for."""

from __future__ import annotations

import copy
import functools
import pickle
import sys
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import metertap
from support.stand_in_shop import (
    DECORATED_METHODS,
    EVERY,
    FUNCTIONS,
    MODULE,
    OF_CLASS,
    PATCHED_METHODS,
    STATIC,
    Both,
    Get,
    arguments_of,
    each,
    result,
)

pytestmark = pytest.mark.interpreter

cloudpickle = pytest.importorskip("cloudpickle")
Signal = pytest.importorskip("blinker").Signal


def by_weak_method(it: Any) -> Any:
    return weakref.WeakMethod(it)() if hasattr(it, "__self__") else it


def by_signal(it: Any) -> Any:
    """As blinker holds what is connected to a signal, weakly."""
    signal = Signal()
    signal.connect(it)
    ((_, found),) = [(None, it) for it in signal.receivers_for(None)]
    return found


def by_value(it: Any) -> Any:
    """Send it as cloudpickle sends what the other process cannot import."""
    cloudpickle.register_pickle_by_value(sys.modules[MODULE])
    try:
        return pickle.loads(cloudpickle.dumps(it))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[MODULE])


COPIES: Mapping[str, Callable[[Any], Any]] = {
    "as it is": lambda it: it,
    "WeakMethod": by_weak_method,
    "blinker": by_signal,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    "cloudpickle": lambda it: pickle.loads(cloudpickle.dumps(it)),
    "by value": by_value,
    "partial": functools.partial,
    "singledispatch": lambda it: functools.singledispatch(it),
}


def calls() -> int:
    return sum(
        found["total_calls"] for found in metertap.get_all_metrics()["tool_metrics"].values()
    )


@each(COPIES, "copied")
@each(EVERY)
def test_what_others_make_of_it_is_called_and_counted_as_it_is(
    both: Both, get: Get, copied: Callable[[Any], Any]
) -> None:
    function = get(both.measured)
    expected = result(get(both.bare), *arguments_of(get, both.bare))
    again = copied(function)
    before = calls()
    assert result(again, *arguments_of(get, both.measured)) == expected
    assert calls() == before + 1


@each(FUNCTIONS)
def test_a_copy_of_a_function_is_that_function(both: Both, get: Get) -> None:
    function = get(both.measured)
    assert copy.copy(function) is function
    assert copy.deepcopy(function) is function
    assert pickle.loads(pickle.dumps(function)) == function
    assert len({function, get(both.measured)}) == 1


@each({name: name for name in (*DECORATED_METHODS, *PATCHED_METHODS)}, "name")
def test_methods_are_compared_and_held_as_those_of_the_bare_class(both: Both, name: str) -> None:
    def facts(module: Any) -> list[Any]:
        shop = module.Shop(5)
        method = getattr(shop, name)
        weak = weakref.WeakMethod(method)
        found = [
            method == getattr(shop, name),
            method == getattr(module.Shop(5), name),
            hash(method) == hash(getattr(shop, name)),
            method.__self__ is shop,
            method.__func__ == getattr(module.Shop, name),
            weak == weakref.WeakMethod(getattr(shop, name)),
            weak() == method,
            result(types.MethodType(method.__func__, module.Shop(7)), 1),
        ]
        del method, shop
        return [*found, weak() is None]

    assert facts(both.measured) == facts(both.bare)


@each({name: name for name in (*DECORATED_METHODS, *PATCHED_METHODS)}, "name")
def test_a_subclass_calls_it_by_super(both: Both, name: str) -> None:
    def answers(module: Any) -> list[Any]:
        def overriding(self: Any, number: int) -> Any:
            return getattr(super(branch, self), name)(number, times=10)

        branch: Any = type("Branch", (module.Shop,), {name: overriding})
        plain_branch: Any = type("Plain", (module.Shop,), {})
        made = branch(3)
        inner = getattr(super(branch, made), name)
        return [
            result(getattr(made, name), 2),
            result(getattr(plain_branch(3), name), 2),
            result(weakref.WeakMethod(inner)(), 2),
        ]

    before = calls()
    assert answers(both.measured) == answers(both.bare)
    assert calls() == before + 3


def test_a_class_is_sent_by_value_with_all_that_stands_in_it(both: Both) -> None:
    shop = by_value(both.measured.Shop)
    before = calls()
    made = shop(5)
    for name in (*DECORATED_METHODS, *PATCHED_METHODS):
        assert result(getattr(made, name), 4) == result(getattr(both.bare.Shop(5), name), 4)
    for name in (*OF_CLASS, *STATIC):
        assert result(getattr(shop, name), 4) == 8
    assert made.value == 10
    assert calls() == before + len((*DECORATED_METHODS, *PATCHED_METHODS, *OF_CLASS, *STATIC)) + 1


def test_a_property_is_read_and_counted(both: Both) -> None:
    before = calls()
    assert both.measured.Shop(5).value == both.bare.Shop(5).value
    assert calls() == before + 1
    assert type(vars(both.measured.Shop)["value"]) is property
