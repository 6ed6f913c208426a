"""Callables of every kind: how their calls are measured, their names, and their parts."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

from metertap.patching.wrapper import CalledProxy, Wrapper

Decorate = Callable[[Any], Any]

_MADE_OF = {
    property: "fget",
    functools.cached_property: "func",
    functools.partial: "func",
    functools.partialmethod: "func",
    functools.singledispatchmethod: "func",
    staticmethod: "__func__",
    classmethod: "__func__",
}
"""Types of objects that are made of a function, and the attribute that holds it."""
_NAMELESS = "<lambda>"


def kind_of(function: Any) -> str:
    """Return how to measure calls of `function`, which depends on what they return.

    The result is `plain`, `coroutine`, `generator` or `async generator`.
    """
    called = _bare(getattr(function, "__func__", function))  # of a class method or static method
    if isinstance(called, functools.singledispatchmethod):
        called = called.func
    is_object = not inspect.isroutine(called) and not isinstance(called, functools.partial)
    if is_object and not _is_marked(called):
        called = getattr(type(called), "__call__", called)  # noqa: B004
    if inspect.isasyncgenfunction(called):
        return "async generator"
    if inspect.isgeneratorfunction(called):
        while isinstance(called, functools.partial):
            called = called.func
        # `types.coroutine` makes a generator that can be awaited; metertap's own could not be.
        awaited = called.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE
        return "plain" if awaited else "generator"
    return "coroutine" if inspect.iscoroutinefunction(called) else "plain"


def _is_marked(called: Any) -> bool:
    """Return whether a callable object is marked as a coroutine function."""
    try:
        return inspect.iscoroutinefunction(called)
    except Exception:  # raised by code of the program's object
        return False


def name_of(function: Any) -> str | None:
    """Return a callable's name: that of its function, its own, or that of its class.

    None for a lambda, which has no name.
    """
    function = _bare(function)
    inner = _inner(function)
    if inner is not None:
        return name_of(inner)
    try:
        name = getattr(function, "__name__", None)
        if name == "__call__":  # of a class, whose name its objects get
            path = function.__qualname__.split(".")
            name = path[-2] if len(path) > 1 and path[-2].isidentifier() else name
    except Exception:  # the program's object cannot tell its name
        name = None
    if not isinstance(name, str):
        return type(function).__name__
    return None if name == _NAMELESS else name


def rebuilt(function: Any, decorate: Decorate) -> Any:
    """Return a copy of a descriptor with its function decorated; None for other objects.

    A proxy around the descriptor would come between the program and a property's value.
    """
    kind = type(function)
    if kind in {staticmethod, classmethod}:
        return kind(decorate(function.__func__))
    if isinstance(function, property):
        return None if function.fget is None else function.getter(decorate(function.fget))
    if isinstance(function, functools.cached_property):
        again = copy.copy(function)
        again.func = decorate(function.func)
        return again
    if kind is functools.partialmethod:
        return kind(decorate(function.func), *function.args, **function.keywords)
    return None


def is_measurable(function: Any) -> bool:
    """Return whether `function` can be wrapped and stay what it is to the program.

    A wrapped class would not work in `except`, `match` and pickle.
    """
    if issubclass(type(function), type):
        return False
    return callable(function) or isinstance(
        function, (staticmethod, classmethod, functools.singledispatchmethod)
    )


def _bare(function: Any) -> Any:
    """Return the function or object inside metertap's wrappers."""
    while issubclass(type(function), (Wrapper, CalledProxy)):
        function = function.__wrapped__
    return function


def _inner(function: Any) -> Any:
    for kind, attribute in _MADE_OF.items():
        if isinstance(function, kind):
            return getattr(function, attribute)
    return None
