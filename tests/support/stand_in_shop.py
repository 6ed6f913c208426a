"""A module of every kind of function, and one of every kind of stand-in for them."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import metertap
from metertap.measuring import functions, generators, wrappers
from metertap.measuring.slots import ToolSlot
from metertap.patching.targets import Target, comparable, stand_in

SOURCE = '''
import dataclasses
import functools
from collections.abc import AsyncIterator, Iterator


def plain(number: int, *, times: int = 2) -> int:
    """Multiply."""
    return number * times


async def later(number: int, *, times: int = 2) -> int:
    """Multiply."""
    return number * times


def stream(number: int, *, times: int = 2) -> Iterator[int]:
    """Multiply."""
    yield number * times


async def stream_later(number: int, *, times: int = 2) -> AsyncIterator[int]:
    """Multiply."""
    yield number * times


def function(number: int, *, times: int = 2) -> int:
    """Multiply."""
    return number * times


def by_wrapt(number: int, *, times: int = 2) -> int:
    """Multiply."""
    return number * times


class Called:
    """Multiplies."""

    def __call__(self, number: int, *, times: int = 2) -> int:
        return number * times


@dataclasses.dataclass(frozen=True)
class Record:
    """Multiplies."""

    factor: int = 3

    def __call__(self, number: int, *, times: int = 2) -> int:
        return number * times * self.factor


class Base:
    def inherited(self, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times * self.factor

    async def inherited_later(self, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times * self.factor


class Shop(Base):
    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shop) and other.factor == self.factor

    def __hash__(self) -> int:
        return self.factor

    def method(self, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times * self.factor

    async def method_later(self, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times * self.factor

    def items(self, number: int, *, times: int = 2) -> Iterator[int]:
        """Multiply."""
        yield number * times * self.factor

    async def items_later(self, number: int, *, times: int = 2) -> AsyncIterator[int]:
        """Multiply."""
        yield number * times * self.factor

    def patched(self, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times * self.factor

    async def patched_later(self, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times * self.factor

    def compared(self, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times * self.factor

    def wrapped(self, number: int, *, times: int = 2) -> Iterator[int]:
        """Multiply."""
        yield number * times * self.factor

    async def wrapped_later(self, number: int, *, times: int = 2) -> AsyncIterator[int]:
        """Multiply."""
        yield number * times * self.factor

    @classmethod
    def of_class(cls, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times

    @classmethod
    def patched_of_class(cls, number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times

    @staticmethod
    def static(number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times

    @staticmethod
    def patched_static(number: int, *, times: int = 2) -> int:
        """Multiply."""
        return number * times

    @property
    def value(self) -> int:
        """Multiply."""
        return 2 * self.factor


def untouched(number: int, *, times: int = 2) -> int:
    """Multiply."""
    return number * times


partial = functools.partial(untouched, times=3)
called = Called()
record = Record()
'''


MODULE = "metertap_matrix_shop"


DECORATED_FUNCTIONS = ("plain", "later", "stream", "stream_later")


DECORATED_OBJECTS = ("partial", "called", "record")


PATCHED_FUNCTIONS = ("function", "by_wrapt")


DECORATED_METHODS = ("method", "method_later", "items", "items_later")


PATCHED_METHODS = (
    "patched",
    "patched_later",
    "compared",
    "wrapped",
    "wrapped_later",
    "inherited",
    "inherited_later",
)


OF_CLASS = ("of_class", "patched_of_class")


STATIC = ("static", "patched_static")


def execute(path: Path) -> types.ModuleType:
    """Import the module anew, or its twin that nothing is put into."""
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decorate(module: Any) -> None:
    """Decorate as the source would: each in the place of what it stands for."""
    for name in (*DECORATED_FUNCTIONS, *DECORATED_OBJECTS):
        setattr(module, name, metertap.tool(name=name)(getattr(module, name)))
    for name in (*DECORATED_METHODS, "of_class", "static", "value"):
        setattr(module.Shop, name, metertap.tool(name=name)(vars(module.Shop)[name]))


def targets(module: Any) -> list[Target]:
    """One of each kind that the patch tables of the instrumentations have."""

    def slot(name: str) -> ToolSlot:
        return ToolSlot(name, "library", "library")

    def passing(method: Callable[..., Any], live: Any) -> Any:
        of = slot("patched")
        return functions.plain(method, of)

    def passing_later(method: Callable[..., Any], live: Any) -> Any:
        return functions.coroutine(method, slot("patched_later"))

    plain, coroutine = wrappers.plain_wrapper, wrappers.coroutine_wrapper
    generator = generators.generator_wrapper(module.Shop.wrapped, lambda *_: slot("wrapped"))
    later = generators.async_generator_wrapper(
        module.Shop.wrapped_later, lambda *_: slot("wrapped_later")
    )
    replaced = functions.replacement("function", "library", "library")
    named = generators.named_as
    return [
        Target("function", plain(slot("function")), replacement=replaced),
        Target("by_wrapt", plain(slot("by_wrapt"))),
        stand_in("Shop.patched", passing),
        stand_in("Shop.patched_later", passing_later),
        comparable("Shop.compared", plain(slot("compared"))),
        Target("Shop.wrapped", generator),
        Target("Shop.wrapped_later", later),
        Target("Shop.inherited", plain(slot("inherited"))),
        Target(
            "Shop.inherited_later",
            named(module.Shop.inherited_later, coroutine(slot("inherited_later"))),
        ),
        Target("Shop.patched_of_class", plain(slot("patched_of_class"))),
        Target("Shop.patched_static", plain(slot("patched_static"))),
    ]


class Both(NamedTuple):
    bare: Any
    measured: Any


Get = Callable[[Any], Any]


def of_module(name: str) -> Get:
    return lambda module: getattr(module, name)


def of_class(name: str) -> Get:
    return lambda module: getattr(module.Shop, name)


def of_instance(name: str) -> Get:
    return lambda module: getattr(module.Shop(5), name)


FUNCTIONS: Mapping[str, Get] = {
    **{name: of_module(name) for name in (*DECORATED_FUNCTIONS, *PATCHED_FUNCTIONS)},
    **{f"Shop.{name}": of_class(name) for name in (*DECORATED_METHODS, *PATCHED_METHODS)},
    **{f"Shop.{name}": of_class(name) for name in STATIC},
}


METHODS: Mapping[str, Get] = {
    **{f"Shop().{name}": of_instance(name) for name in (*DECORATED_METHODS, *PATCHED_METHODS)},
    **{f"Shop.{name}": of_class(name) for name in OF_CLASS},
}


OBJECTS: Mapping[str, Get] = {name: of_module(name) for name in DECORATED_OBJECTS}


EVERY = {**FUNCTIONS, **METHODS, **OBJECTS}


def each(table: Mapping[str, Any], name: str = "get") -> Any:
    return pytest.mark.parametrize(name, [pytest.param(it, id=key) for key, it in table.items()])


def result(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a call comes to in the end."""

    async def listed(made: Any) -> list[Any]:
        return [item async for item in made]

    made = function(*arguments)
    if inspect.iscoroutine(made):
        return asyncio.run(made)
    if inspect.isasyncgen(made):
        return asyncio.run(listed(made))
    return list(made) if inspect.isgenerator(made) else made


def arguments_of(get: Get, module: Any) -> tuple[Any, ...]:
    function = get(module)
    takes_self = next(iter(inspect.signature(function).parameters)) == "self"
    return (module.Shop(5), 4) if takes_self else (4,)
