"""Every kind of stand-in answers as the function it stands for, to everything that can ask."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import sys
import types
import typing
import weakref
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import pytest

import metertap
from support.stand_in_shop import (
    DECORATED_FUNCTIONS,
    DECORATED_METHODS,
    EVERY,
    FUNCTIONS,
    METHODS,
    OF_CLASS,
    PATCHED_FUNCTIONS,
    PATCHED_METHODS,
    STATIC,
    Both,
    Get,
    each,
)

pytestmark = pytest.mark.interpreter


def described(value: Any) -> Any:
    """What an answer is, without what is new in each process: objects of two modules differ."""
    return repr(value).split(" at 0x")[0]


def hints(it: Any) -> Any:
    try:
        return typing.get_type_hints(it)
    except TypeError:  # an object has none
        return TypeError


def of_dataclass(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def answer(it: Any) -> Any:
        try:
            return ask(it)
        except TypeError as error:  # most are no dataclass
            return str(error)

    return answer


QUESTIONS: Mapping[str, Callable[[Any], Any]] = {
    "signature": inspect.signature,
    "getfullargspec": inspect.getfullargspec,
    "defaults": lambda it: [getattr(it, name, None) for name in ("__defaults__", "__kwdefaults__")],
    "parameters": lambda it: parameters(getattr(it, "__code__", None)),
    "iscoroutinefunction": inspect.iscoroutinefunction,
    "isgeneratorfunction": inspect.isgeneratorfunction,
    "isasyncgenfunction": inspect.isasyncgenfunction,
    "isfunction": inspect.isfunction,
    "ismethod": inspect.ismethod,
    "isroutine": inspect.isroutine,
    "isdatadescriptor": inspect.isdatadescriptor,
    "asyncio": asyncio.iscoroutinefunction,
    "getdoc": inspect.getdoc,
    "callable": callable,
    "class": lambda it: it.__class__,
    "FunctionType": lambda it: isinstance(it, types.FunctionType),
    "MethodType": lambda it: isinstance(it, types.MethodType),
    "own_equality": lambda it: (it == it, it != it, it == object()),
    "hash": lambda it: hash(it) == hash(it),
    "names": lambda it: [
        getattr(it, name, None) for name in ("__name__", "__qualname__", "__module__", "__doc__")
    ],
    "get_type_hints": hints,
    "annotations": lambda it: getattr(it, "__annotations__", None),
    "autospec": lambda it: inspect.signature(mock.create_autospec(it)),
    "partial": lambda it: inspect.signature(functools.partial(it, 1)),
    "wraps": lambda it: inspect.signature(functools.wraps(it)(lambda: None)),
    "repr": repr,
    "weakref": lambda it: weakref.ref(it) is not None,
    "is_dataclass": dataclasses.is_dataclass,
    "fields": of_dataclass(dataclasses.fields),
    "asdict": of_dataclass(dataclasses.asdict),
    "astuple": of_dataclass(dataclasses.astuple),
    "replace": of_dataclass(lambda it: dataclasses.replace(it, factor=5)),
}


def parameters(code: types.CodeType | None) -> Any:
    if code is None:
        return None
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    return (*counts, code.co_varnames[: counts[0] + counts[2]], code.co_flags & VARIABLE)


VARIABLE = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


@pytest.mark.parametrize("question", QUESTIONS)
@each(EVERY)
def test_a_stand_in_answers_as_what_it_stands_for(both: Both, get: Get, question: str) -> None:
    ask = QUESTIONS[question]
    assert described(ask(get(both.measured))) == described(ask(get(both.bare)))


WRONG: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1, 2, 3, 4), {}),
    ((1, 2), {"odd": 1}),
    ((1,), {"number": 2, "self": 1}),
]


@each(EVERY)
def test_wrong_arguments_are_refused_at_the_call_as_by_what_it_stands_for(
    both: Both, get: Get
) -> None:
    def refused(module: Any) -> list[Any]:
        told = []
        for arguments, named in WRONG:
            with pytest.raises(TypeError) as raised:
                get(module)(*arguments, **named)
            told.append((str(raised.value), [frame.name for frame in raised.traceback]))
        return told

    measured, bare = refused(both.measured), refused(both.bare)
    assert [text for text, _ in measured] == [text for text, _ in bare]
    assert measured == bare or sys.version_info < (3, 11)  # before, a frame cannot be hidden


OF_PROGRAM = {name: FUNCTIONS[name] for name in (*DECORATED_FUNCTIONS, "function", "Shop.method")}
"""What the program defines and decorates, or names in a line of the configuration."""


@each(OF_PROGRAM)
def test_annotations_that_are_text_are_evaluated_where_the_function_was_defined(
    both: Both, get: Get
) -> None:
    assert get(both.measured).__globals__ is vars(both.measured)


@each(OF_PROGRAM)
def test_a_call_that_is_refused_is_none_of_the_tool(both: Both, get: Get) -> None:
    with pytest.raises(TypeError):
        get(both.measured)()
    found = metertap.get_all_metrics()["tool_metrics"].values()
    assert sum(tool["total_calls"] + tool["active_calls"] for tool in found) == 0


@each({**FUNCTIONS, **METHODS})
def test_its_source_is_found_and_unwrapped(both: Both, get: Get) -> None:
    measured, bare = get(both.measured), get(both.bare)
    assert inspect.getsource(measured) == inspect.getsource(bare)
    assert inspect.unwrap(measured).__code__ == bare.__code__


ATTRIBUTES = (*DECORATED_METHODS, *PATCHED_METHODS, *OF_CLASS, *STATIC, "value")


def test_the_attributes_of_a_class_are_listed_as_those_of_the_bare_class(both: Both) -> None:
    def rows(module: Any) -> dict[str, Any]:
        return {
            row.name: (row.kind, row.defining_class.__name__, row.object.__class__)
            for row in inspect.classify_class_attrs(module.Shop)
            if row.name in ATTRIBUTES
        }

    expected = rows(both.bare)
    assert len(expected) == len(ATTRIBUTES)
    # Patched for this class alone, what it inherits has to stand in the class itself.
    for name in ("inherited", "inherited_later"):
        assert expected[name] == ("method", "Base", types.FunctionType)
        expected[name] = ("method", "Shop", types.FunctionType)
    assert rows(both.measured) == expected


@each({name: name for name in ATTRIBUTES if name != "value"}, "name")
def test_a_mock_of_the_class_takes_what_one_of_the_bare_class_takes(both: Both, name: str) -> None:
    def taken(module: Any) -> list[Any]:
        made = mock.create_autospec(module.Shop)
        found: list[Any] = []
        for it in (getattr(made, name), getattr(made.return_value, name)):
            found += [type(it).__name__, inspect.signature(it)]
            for arguments, named in (((1,), {}), ((), {}), ((1, 2, 3), {}), ((1,), {"odd": 1})):
                try:
                    answer = it(*arguments, **named)
                except TypeError as error:
                    found.append(str(error))
                else:
                    if inspect.iscoroutine(answer):
                        answer.close()
                    found.append(type(answer).__name__)
        return found

    assert taken(both.measured) == taken(both.bare)


def test_a_mock_of_the_module_takes_what_one_of_the_bare_module_takes(both: Both) -> None:
    def signatures(module: Any) -> list[Any]:
        made = mock.create_autospec(module)
        names = (*DECORATED_FUNCTIONS, *PATCHED_FUNCTIONS, "partial")
        mocks = [getattr(made, name) for name in names]
        return [(type(it).__name__, inspect.signature(it)) for it in mocks]

    assert signatures(both.measured) == signatures(both.bare)
