"""Functions and methods in every variant of cachetools' decorators."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import metertap

cachetools = pytest.importorskip("cachetools")

VERSION = int(cachetools.__version__.partition(".")[0])


LARGE = 9
"""No cache of these tests has room for what this gives."""


@dataclass
class Made:
    """A decorated function, and what its calls came to."""

    call: Callable[..., int]
    cache: Any
    info: Callable[[], Any] | None
    clear: Callable[[], None] | None
    bodies: list[int]


class Shelf(MutableMapping[Any, int]):
    """A mapping of the program's own, which keeps few entries and cannot be held weakly."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[Any, int] = {}

    def __getitem__(self, key: Any) -> int:
        return self._kept[key]

    def __setitem__(self, key: Any, value: int) -> None:
        if size(value) > 1:
            raise ValueError("value too large")
        self._kept[key] = value
        if len(self._kept) > 3:
            del self._kept[next(iter(self._kept))]

    def __delitem__(self, key: Any) -> None:
        del self._kept[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def size(value: int) -> int:
    return 100 if value == LARGE else 1


def own_key(*args: Any) -> Any:
    """Of functions and of methods: two numbers share a key."""
    return args[-1] // 2


def calls_itself(number: int) -> bool:
    return 5 < number < LARGE


def body_of(made: list[Made], bodies: list[int]) -> Callable[[int], int]:
    def body(number: int) -> int:
        bodies.append(number)
        if number < 0:
            raise LookupError(number)
        if calls_itself(number):
            return made[0].call(number - 3) + 1
        return number

    return body


def has(function: Any, parameter: str) -> bool:
    return parameter in inspect.signature(function).parameters


def decorate(cache: Any, options: Sequence[str]) -> Made:
    """A function or a method, by the options' names."""
    if not isinstance(cache, (dict, Shelf)):
        metertap.name_cache(cache, "decorated")
    elif "method" in options and VERSION == 7:
        pytest.skip("cachetools 7 shows the mapping of a method that it is given")
    bodies: list[int] = []
    made: list[Made] = []
    body = body_of(made, bodies)
    given_: dict[str, Any] = {}
    is_method = "method" in options
    decorator: Any = cachetools.cachedmethod if is_method else cachetools.cached

    def held(value: Any) -> Any:
        return (lambda _self: value) if is_method else value

    if "lock" in options:
        given_["lock"] = held(threading.RLock())
    if "condition" in options:
        given_["condition"] = held(threading.Condition(threading.RLock()))
    if "info" in options:
        given_["info"] = True
    if "key" in options:
        given_["key"] = own_key
    for parameter in given_:
        if not has(decorator, parameter):
            pytest.skip(f"this version has no {parameter}")
    if is_method:

        class Shop:
            @decorator(lambda self: cache, **given_)
            def price(self, number: int) -> int:
                return body(number)

        function = Shop().price
    else:
        function = decorator(cache, **given_)(body)
    made.append(
        Made(
            call=function,
            cache=cache,
            info=function.cache_info if "info" in options else None,
            clear=function.cache_clear if "info" in options else None,
            bodies=bodies,
        )
    )
    return made[0]


VARIANTS = [
    (*kind, *guarded_by, *rest)
    for kind in ((), ("method",))
    for guarded_by in ((), ("lock",), ("condition",), ("lock", "condition"))
    for rest in ((), ("info",), ("key",), ("key", "info"))
    if guarded_by != ("lock", "condition")  # those two would be two locks
]


CACHES: list[Callable[[], Any]] = [
    lambda: cachetools.LRUCache(3, getsizeof=size),
    lambda: cachetools.FIFOCache(3, getsizeof=size),
    lambda: cachetools.TTLCache(3, 600, getsizeof=size),
    lambda: cachetools.TLRUCache(3, lambda _key, _value, now: now + 600, getsizeof=size),
    dict,
    Shelf,
]


class Shop:
    def __call__(self, number: int) -> int:
        return number
