"""Decorated objects: the way to measure their calls, their names, and their parts."""

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
"""Objects that are made of a function, and the attribute that has it."""
_NAMELESS = "<lambda>"


def kind_of(function: Any) -> str:
    """Return how the calls of `function` are measured, which depends on what they return.

    It is `plain`, `coroutine`, `generator` or `async generator`.
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
        # One that is awaited (`types.coroutine`) is left alone: none of ours could be.
        awaited = called.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE
        return "plain" if awaited else "generator"
    return "coroutine" if inspect.iscoroutinefunction(called) else "plain"


def _is_marked(called: Any) -> bool:
    """Return whether an object that is called is marked as a coroutine function."""
    try:
        return inspect.iscoroutinefunction(called)
    except Exception:  # of the program's object, which was asked
        return False


def name_of(function: Any) -> str | None:
    """Name a callable: as the function it is made of, or as it says itself, or as its class.

    None for a lambda, which has no name of its own.
    """
    function = _bare(function)
    inner = _inner(function)
    if inner is not None:
        return name_of(inner)
    try:
        name = getattr(function, "__name__", None)
        if name == "__call__":  # of a class, after which its objects are named
            path = function.__qualname__.split(".")
            name = path[-2] if len(path) > 1 and path[-2].isidentifier() else name
    except Exception:  # of the program's: it says nothing of its name
        name = None
    if not isinstance(name, str):
        return type(function).__name__
    return None if name == _NAMELESS else name


def rebuilt(function: Any, decorate: Decorate) -> Any:
    """Return a descriptor like `function` whose own function is decorated; None if it is none.

    A proxy around one would stand between the program and the value of a property.
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
    """Return whether calls of `function` can be seen at all, without changing what it is.

    What stands for a class is none to `except`, `match` and pickle.
    """
    if issubclass(type(function), type):
        return False
    return callable(function) or isinstance(
        function, (staticmethod, classmethod, functools.singledispatchmethod)
    )


def _bare(function: Any) -> Any:
    """Return the function or object that wrappers of ours stand around."""
    while issubclass(type(function), (Wrapper, CalledProxy)):
        function = function.__wrapped__
    return function


def _inner(function: Any) -> Any:
    for kind, attribute in _MADE_OF.items():
        if isinstance(function, kind):
            return getattr(function, attribute)
    return None
