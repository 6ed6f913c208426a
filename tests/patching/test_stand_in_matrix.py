"""Every kind of stand-in answers as the function it stands for, to everything that can ask."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import importlib
import inspect
import pickle
import sys
import traceback
import types
import typing
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

import metertap
from metertap.measuring import functions, generators, wrappers
from metertap.measuring.slots import ToolSlot
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target, comparable, stand_in

pytestmark = pytest.mark.interpreter

cloudpickle = pytest.importorskip("cloudpickle")
Signal = pytest.importorskip("blinker").Signal

SOURCE = '''
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
'''
MODULE = "metertap_matrix_shop"

DECORATED_FUNCTIONS = ("plain", "later", "stream", "stream_later")
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
    for name in (*DECORATED_FUNCTIONS, "partial", "called"):
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


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    """The module as it is, and the same one decorated and patched, which can be imported."""
    path = tmp_path / f"{MODULE}.py"
    path.write_text(SOURCE)
    bare, measured = execute(path), execute(path)
    monkeypatch.setitem(sys.modules, MODULE, measured)
    patches = PatchSet(MODULE, targets(measured))
    decorate(measured)
    patches.install()
    assert patches.problem is None
    yield Both(bare, measured)
    patches.uninstall()


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
OBJECTS: Mapping[str, Get] = {name: of_module(name) for name in ("partial", "called")}
EVERY = {**FUNCTIONS, **METHODS, **OBJECTS}


def each(table: Mapping[str, Any], name: str = "get") -> Any:
    return pytest.mark.parametrize(name, [pytest.param(it, id=key) for key, it in table.items()])


def described(value: Any) -> Any:
    """What an answer is, without what is new in each process: objects of two modules differ."""
    return repr(value).split(" at 0x")[0]


QUESTIONS: Mapping[str, Callable[[Any], Any]] = {
    "signature": inspect.signature,
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
    "get_type_hints": lambda it: None if it.__class__.__name__ == "Called" else hints(it),
    "autospec": lambda it: inspect.signature(mock.create_autospec(it)),
    "partial": lambda it: inspect.signature(functools.partial(it, 1)),
    "wraps": lambda it: inspect.signature(functools.wraps(it)(lambda: None)),
    "weakref": lambda it: weakref.ref(it) is not None,
}


def hints(it: Any) -> Any:
    return typing.get_type_hints(it.func if isinstance(it, functools.partial) else it)


# wrapt's proxy of an object that is called is a descriptor, and has a `__call__` of its own.
OF_FUNCTIONS = {"isroutine", "autospec"}


@pytest.mark.parametrize("question", QUESTIONS)
@each(EVERY)
def test_a_stand_in_answers_as_what_it_stands_for(both: Both, get: Get, question: str) -> None:
    if get in OBJECTS.values() and question in OF_FUNCTIONS:
        return
    ask = QUESTIONS[question]
    assert described(ask(get(both.measured))) == described(ask(get(both.bare)))


@each({**FUNCTIONS, **METHODS})
def test_its_source_is_found_and_unwrapped(both: Both, get: Get) -> None:
    measured, bare = get(both.measured), get(both.bare)
    assert inspect.getsource(measured) == inspect.getsource(bare)
    assert inspect.unwrap(measured).__code__ == bare.__code__


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


ERRORS = (KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit, KeyError)


class Raising:
    """Raises when it is multiplied."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __rmul__(self, number: int) -> int:
        raise self.error


def stepped(made: Any) -> None:
    """Run a call to its first step, without a loop, which has frames and ideas of its own."""
    if inspect.iscoroutine(made):
        made.send(None)
    elif inspect.isgenerator(made):
        next(made)
    elif inspect.isasyncgen(made):
        made.asend(None).send(None)


def thrown(made: Any, error: BaseException) -> None:
    if inspect.isasyncgen(made):
        made.athrow(error).send(None)
    else:
        made.throw(error)


def frames(error: BaseException) -> list[tuple[str, str]]:
    return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before, a frame cannot be hidden")
@each(EVERY)
def test_an_error_shows_the_frames_that_it_shows_of_the_bare_one(both: Both, get: Get) -> None:
    def shown(module: Any, kind: type[BaseException]) -> list[tuple[str, str]]:
        error = kind("odd")
        with pytest.raises(kind) as raised:
            stepped(get(module)(*arguments_of(get, module)[:-1], 4, times=Raising(error)))
        assert raised.value is error
        return frames(error)

    for kind in ERRORS:
        expected = shown(both.bare, kind)
        assert expected[-1][1] == "__rmul__"
        assert shown(both.measured, kind) == expected


STREAMS = {name: get for name, get in EVERY.items() if "stream" in name or "items" in name}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before, a frame cannot be hidden")
@each({**STREAMS, **{name: get for name, get in EVERY.items() if "wrapped" in name}})
def test_an_error_thrown_into_a_generator_shows_the_frames_that_it_shows_of_the_bare_one(
    both: Both, get: Get
) -> None:
    def shown(module: Any, kind: type[BaseException]) -> list[tuple[str, str]]:
        made = get(module)(*arguments_of(get, module))
        with contextlib.suppress(StopIteration):  # by which an async generator gives its item
            stepped(made)
        with pytest.raises(kind) as raised:
            thrown(made, kind("odd"))
        return frames(raised.value)

    for kind in ERRORS:
        assert shown(both.measured, kind) == shown(both.bare, kind)


def test_a_property_is_read_and_counted(both: Both) -> None:
    before = calls()
    assert both.measured.Shop(5).value == both.bare.Shop(5).value
    assert calls() == before + 1
    assert type(vars(both.measured.Shop)["value"]) is property
