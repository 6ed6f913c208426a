"""What `__main__` defines, sent by value to another process, as ray, dask and joblib send it."""

from __future__ import annotations

import contextvars
import copy
import json
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.patching import by_value

pytestmark = pytest.mark.interpreter

cloudpickle = pytest.importorskip("cloudpickle")

SENDER = """
import functools
import sys

import cloudpickle
import metertap

@metertap.tool
def plain(number):
    return number + 1

@metertap.tool
async def later(number):
    return number + 1

@metertap.tool
def stream(number):
    '''Count.'''
    yield from range(number)

@metertap.tool
async def stream_later(number):
    for item in range(number):
        yield item

class Called:
    def __call__(self, number):
        return number + 1

called = metertap.tool(name="called")(Called())
partial = metertap.tool(name="partial")(functools.partial(divmod, 7))

class Base:
    def inherited(self, number):
        return number + 1

class Shop(Base):
    @metertap.tool
    def method(self, number):
        return number + 1

    @metertap.tool
    def items(self, number):
        yield from range(number)

    @metertap.tool
    @classmethod
    def of_class(cls, number):
        return number + 1

    @property
    @metertap.tool
    def value(self):
        return 3

    def line(self, number):
        return number + 1

    def line_items(self, number):
        yield from range(number)

    @classmethod
    def line_of_class(cls, number):
        return number + 1

    @classmethod
    def line_items_of_class(cls, number):
        yield from range(number)

    @staticmethod
    def line_static(number):
        return number + 1

class Store:
    def get(self, key):
        return None

def named(name):
    return len(name)

async def named_later(name):
    return len(name)

def named_stream(name):
    yield from name

metertap.instrument(json_endpoint=False)
names = ("plain", "later", "stream", "stream_later", "called", "partial", "Shop", "Store")
names += ("named", "named_later", "named_stream")
sent = {name: globals()[name] for name in names}
sys.stdout.buffer.write(cloudpickle.dumps(sent))
"""
LINES = """
[tool.metertap.tools]
"__main__:Shop.line" = {}
"__main__:Shop.inherited" = {}
"__main__:Shop.line_items" = {}
"__main__:Shop.line_of_class" = {}
"__main__:Shop.line_items_of_class" = {}
"__main__:Shop.line_static" = {}
"__main__:named" = { name = "arg:name" }
"__main__:named_later" = { name = "arg:name" }
"__main__:named_stream" = { name = "arg:name" }
[tool.metertap.caches]
"__main__:Store.get" = { miss = "none" }
"""
WORKER = """
import asyncio, inspect, json, pickle, sys

if "without" in sys.argv:
    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"metertap", "metertap_instrumentation"}:
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Absent())

sent = pickle.load(sys.stdin.buffer)

async def listed(items):
    return [item async for item in items]

shop = sent["Shop"]()
answers = [
    sent["plain"](1),
    asyncio.run(sent["later"](1)),
    list(sent["stream"](2)),
    asyncio.run(listed(sent["stream_later"](2))),
    sent["called"](1),
    sent["partial"](2),
    shop.method(1),
    list(shop.items(2)),
    list(sent["Shop"].items(shop, 2)),
    sent["Shop"].of_class(1),
    shop.value,
    inspect.isgeneratorfunction(sent["stream"]),
    inspect.isasyncgenfunction(sent["stream_later"]),
    str(inspect.signature(sent["stream"])),
    sent["stream"].__doc__,
    shop.inherited(1),
]
answers += [
    sent["named"]("alpha"),
    asyncio.run(sent["named_later"]("beta")),
    list(sent["named_stream"]("ab")),
    sent["Store"]().get(1),
    shop.line(1),
    list(shop.line_items(1)),
    shop.line_of_class(1),
    list(sent["Shop"].line_items_of_class(1)),
    shop.line_static(1),
]
found = {"answers": answers, "metertap": "metertap" in sys.modules}
if found["metertap"]:
    import metertap
    from metertap import faults

    document = metertap.get_all_metrics()
    found["tools"] = {
        name: item["total_calls"] for name, item in document["tool_metrics"].items()
    }
    found["caches"] = {name: item["misses"] for name, item in document["cache_metrics"].items()}
    found["faults"] = faults.fault_counts()
print(json.dumps(found))
"""
ANSWERS = [
    *(2, 2, [0, 1], [0, 1], 2, [3, 1], 2, [0, 1], [0, 1], 2, 3),
    *(True, True, "(number)", "Count.", 2),
    *(5, 4, ["a", "b"], None, 2, [0], 2, [0], 2),
]
DECORATED = {
    **dict.fromkeys(("plain", "later", "stream", "stream_later", "called", "partial"), 1),
    "method": 1,
    "items": 2,
    "of_class": 1,
    "value": 1,
}
OF_LINES = {
    **dict.fromkeys(("alpha", "beta", "ab", "inherited", "line", "line_items"), 1),
    "line_of_class": 1,
    "line_items_of_class": 1,
    "line_static": 1,
}


def received(folder: Path, *how: str, lines: str = "") -> Any:
    """What a worker says of the functions that a program sent to it."""
    (folder / "pyproject.toml").write_text(lines)
    (folder / "program.py").write_text(SENDER)
    elsewhere = folder / "worker"
    elsewhere.mkdir()
    environment = {**os.environ, "METRICS_JSON_ENDPOINT_ENABLED": "false"}
    sent = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env=environment,
        stdout=-1,
        check=True,
        timeout=120,
    )
    worker = subprocess.run(
        [sys.executable, "-c", WORKER, *how],
        cwd=elsewhere,
        env=environment,
        input=sent.stdout,
        stdout=-1,
        check=True,
        timeout=120,
    )
    return json.loads(worker.stdout)


def test_decorated_functions_are_measured_where_they_are_sent(tmp_path: Path) -> None:
    found = received(tmp_path)
    assert found["answers"] == ANSWERS
    assert found["tools"] == DECORATED
    assert found["faults"] == {}


def test_they_are_the_bare_ones_where_metertap_is_not_installed(tmp_path: Path) -> None:
    found = received(tmp_path, "without")
    assert found["answers"] == ANSWERS
    assert not found["metertap"]


def test_what_lines_name_is_measured_where_it_is_sent(tmp_path: Path) -> None:
    found = received(tmp_path, lines=LINES)
    assert found["answers"] == ANSWERS
    assert found["tools"] == {**DECORATED, **OF_LINES}
    assert list(found["caches"].values()) == [1]
    assert found["faults"] == {}


def test_a_context_variable_of_the_program_is_pickled_as_little_as_before() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("theirs")
    for of in (pickle.dumps, cloudpickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            of(variable)


def test_a_class_of_the_programs_is_sent_with_the_stand_ins_that_it_was_given() -> None:
    caches = pytest.importorskip("langchain_core.caches")
    with metertap.instrument(json_endpoint=False):

        class Own(caches.BaseCache):  # type: ignore[misc, name-defined]
            def lookup(self, prompt: str, llm_string: str) -> Any:
                return None

            def update(self, prompt: str, llm_string: str, return_val: Any) -> None: ...

            def clear(self, **kwargs: Any) -> None: ...

        sent = pickle.loads(cloudpickle.dumps(Own))
        assert sent is Own  # in one process
        again = pickle.loads(cloudpickle.dumps(vars(Own)["lookup"]))
        assert again is not vars(Own)["lookup"]
        assert again(Own(), "prompt", "llm") is None
        [cache] = metertap.get_all_metrics()["cache_metrics"].values()
        assert cache["misses"] == 1


def other_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a cloudpickle whose private function has another name."""
    source = Path(cloudpickle.cloudpickle.__file__).read_text()
    assert f"def {by_value._IS_BY_NAME}(" in source, "cloudpickle has changed what it is known by"
    made = types.ModuleType("other_cloudpickle")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(source.replace(by_value._IS_BY_NAME, "_goes_by_name"), vars(made))
    return made


def test_a_cloudpickle_that_is_not_known_sends_the_bare_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = other_cloudpickle(monkeypatch)

    @metertap.tool
    def count(number: int) -> Iterator[int]:
        yield from range(number)

    for pickler, counted in ((other, 0), (cloudpickle, 1)):
        metertap.reset()
        assert list(pickle.loads(pickler.dumps(count))(2)) == [0, 1]
        tools = metertap.get_all_metrics()["tool_metrics"].values()
        assert sum(tool["total_calls"] for tool in tools) == counted


def test_a_pickler_that_cannot_be_asked_is_shown_what_everybody_is() -> None:
    @metertap.tool
    def count() -> Iterator[int]:
        yield 1

    asks: dict[str, Any] = {by_value._IS_BY_NAME: lambda: True}  # it takes no function
    exec("def reducer_override(asked):\n    return asked.__class__", asks)
    assert asks["reducer_override"](count) is types.FunctionType
    assert pickle.loads(cloudpickle.dumps(count)) is not count
