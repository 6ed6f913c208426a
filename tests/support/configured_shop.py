"""A program whose handlers lines of the configuration name: `toolshop.server`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import metertap

SHOP = """
import asyncio
import enum
import functools
import time
import types

import wrapt

import metertap

class UnknownMethod(Exception):
    pass

class BadParams(ValueError):
    pass

class Tool(str, enum.Enum):
    SEARCH = "search"

class Message:
    def __init__(self, **fields):
        self.__dict__.update(fields)

    @property
    def secret(self):
        raise RuntimeError("the secret is in this text")

TOOLS = {"search": 1, "buy": 2}
LIMIT = "a-value-of-the-program"

def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

@wrapt.decorator
def traced(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)

def end(ending, default=None):
    if isinstance(ending, BaseException):
        raise ending
    return default if ending is None else ending

async def wait():
    await asyncio.Event().wait()

def items_of(items):
    yield from range(items)

async def async_items_of(items):
    for item in range(items):
        await asyncio.sleep(0)
        yield item

class ToolServer:
    current = Message(tool="pay")
    text = "search and buy"
    size = property(lambda self: len(self.tools))

    def __init__(self):
        self.tools = dict(TOOLS)
        self.names = iter(["search", "buy"])

    def dispatch(self, tool_name, args=None, ending=None):
        "Runs a tool."
        return end(ending, tool_name)

    def by_default(self, tool_name="search"):
        return tool_name

    def positional(self, tool_name, /, **more):
        return tool_name

    def keyword_only(self, *args, tool_name="search"):
        return tool_name

    def gathering(self, **arguments):
        return arguments

    @logged
    def decorated(self, args, tool_name):
        return tool_name

    @traced
    def proxied(self, args, tool_name):
        return tool_name

    @staticmethod
    def static(args, tool_name):
        return tool_name

    @classmethod
    def of_class(cls, args, tool_name):
        return tool_name

    @classmethod
    async def later_of_class(cls, tool_name):
        return tool_name

    @staticmethod
    async def later_static(tool_name):
        return tool_name

    @traced
    @classmethod
    def proxied_of_class(cls, args, tool_name):
        return tool_name

    partial = functools.partialmethod(dispatch, args=5)

    def receive(self, message):
        return message

    async def areceive(self, message):
        return message

    def call(self):
        return self.current.tool

    async def later(self, tool_name, ending=None):
        "Runs a tool, later."
        await asyncio.sleep(0)
        return end(ending, tool_name)

    def relayed(self, tool_name, ending=None):
        return self.later(tool_name, ending)

    def keep(self, tool_name):
        self.kept = self.later(tool_name)
        return self.kept

    def stream(self, tool_name, items=2):
        yield from range(items)
        return "ended"

    def restream(self, tool_name, items=2):
        return items_of(items)

    async def astream(self, tool_name, items=2):
        for item in range(items):
            await asyncio.sleep(0)
            yield item

    def reastream(self, tool_name, items=2):
        return async_items_of(items)

    def task(self, tool_name):
        return asyncio.ensure_future(self.later(tool_name))

    @types.coroutine
    def old_coroutine(self, tool_name):
        yield from asyncio.sleep(0).__await__()
        return tool_name

    async def wait(self, tool_name):
        await wait()

    def rewait(self, tool_name):
        return wait()

    def slow_relay(self, tool_name):
        time.sleep(0.02)
        return self.later(tool_name)

    def slow_restream(self, tool_name):
        time.sleep(0.02)
        return self.stream(tool_name)

    def through(self, names):
        return [names["first"], *(self.through(names["rest"]) if names["rest"] else [])]

class Base:
    def handle(self, tool_name):
        return ("base", tool_name)

    async def later(self, tool_name):
        return tool_name

class Derived(Base):
    def handle(self, tool_name):
        return ("derived", super().handle(tool_name))

class Inheriting(Base):
    pass

class Rpc:
    methods = ("add", "subtract")

    def handle(self, method, ending=None):
        return end(ending)

def run_tool(function, text):
    return function(text)

async def run_tool_later(function, text):
    return await function(text)

def run_that(tool_name, action):
    action()

async def run_that_later(tool_name, action):
    action()

def run_that_in_steps(tool_name, action):
    action()
    yield 1

def invoke(tool_name, tool):
    return tool.invoke({"tool_name": tool_name})

@metertap.tool
def marked():
    return "marked"

def export():
    return "exported"

def run(tool_name):
    return tool_name

@logged
async def reindex(*args):
    return args

bound = functools.partial(run, "search")
server = ToolServer()
"""


def configured(lines: dict[str, str]) -> None:
    """Write the file: attribute of the module → its table."""
    text = "".join(f'"toolshop.server:{target}" = {table}\n' for target, table in lines.items())
    Path("pyproject.toml").write_text(f"[tool.metertap.tools]\n{text}")


def measured(**options: Any) -> metertap.Tap:
    """Without an endpoint, whose end would take its time."""
    return metertap.instrument(json_endpoint=False, **options)


def shop() -> Any:
    return importlib.import_module("toolshop.server")


def figures() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"]
    return found


def counted() -> dict[str, int]:
    """Calls by name, of those that were called."""
    return {name: item["total_calls"] for name, item in figures().items() if item["total_calls"]}


def outcomes(name: str) -> dict[str, int]:
    return {ended: count for ended, count in figures()[name]["outcomes"].items() if count}


async def collected(items: Any) -> list[Any]:
    return [item async for item in items]


def swallow(call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with contextlib.suppress(Exception, asyncio.CancelledError):
        call(*args, **kwargs)


BY_ARGUMENT = '{ name = "arg:tool_name" }'
BY_CONSTANT = '{ name = "const:buy" }'
