"""Caches that a process warms before it forks: a child shows its own lookups and no others."""

from __future__ import annotations

import os
from typing import Any

import pytest

from support.forking import ran

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]

LRU = """
import functools
from functools import lru_cache

def shelf():
    @lru_cache
    def inner(number):
        return number
    return inner

class Shop:
    @lru_cache
    def price(self, number):
        return number

shop = Shop()
early = shelf()
@lru_cache
def before(number):
    return number
"""
AFTER = """
@functools.lru_cache
def after(number):
    return number

def look(times=1):
    for number in range(times):
        for cached in (shop.price, early, before, after):
            cached(number)

def figures():
    found = metertap.get_all_metrics()["cache_metrics"]
    return {name.rpartition(".")[2]: item["total_requests"] for name, item in found.items()}
"""
ONCE = {"after": 1, "before": 1, "inner": 1, "price": 1}


def once_in_child(program: str) -> Any:
    return ran(program + "\nprint(json.dumps(in_child(child)))")


CHILD = """
def child():
    look()
    return figures()
"""


@pytest.mark.parametrize("looked", ["", "figures()"], ids=["nobody looked", "somebody looked"])
def test_lru_caches(looked: str) -> None:
    warmed = f"{LRU}\nmetertap.instrument()\n{AFTER}\nlook(100)\n{looked}\nlook(50)\n{CHILD}"
    assert once_in_child(warmed) == ONCE


def test_children_of_children_and_the_parent_itself() -> None:
    found = ran(f"""{LRU}
metertap.instrument()
{AFTER}
look(10)
def child():
    look(5)
    def grandchild():
        look()
        return figures()
    mine = figures()
    faulthandler.cancel_dump_traceback_later()  # its thread is not in a grandchild
    return mine, in_child(grandchild), figures()
children = in_child(child), in_child(child)
print(json.dumps([children, figures()]))
""")
    children, parent = found
    for child, grandchild, child_after in children:
        assert set(child.values()) == set(child_after.values()) == {5}
        assert grandchild == ONCE
    assert set(parent.values()) == {10}


def test_a_child_alone_is_measured() -> None:
    program = f"""{LRU}{AFTER}
look(100)
metertap.cache_meter("by hand")
def child():
    metertap.instrument()
    look()
    return figures()
"""
    found = once_in_child(program)
    assert found == {"by hand": 0, "before": 1, "after": 1, "inner": 1, "price": 1}


def test_caches_that_only_the_child_makes_count_from_nothing() -> None:
    program = f"""{LRU}
metertap.instrument()
{AFTER}
def child():
    @functools.lru_cache
    def mine(number):
        return number
    mine(1), mine(1)
    kept.append(mine)
    return figures()["mine"]
kept = []
"""
    assert once_in_child(program) == 2


def test_coroutine_functions() -> None:
    pytest.importorskip("async_lru")
    program = """
import asyncio
from async_lru import alru_cache

@alru_cache
async def before(number):
    return number

metertap.instrument()

@alru_cache
async def after(number):
    return number

def look(times=1):
    async def main():
        for number in range(times):
            await before(number)
            await after(number)
    loop.run_until_complete(main())

loop = asyncio.new_event_loop()  # in another one the library clears the cache

def figures():
    found = metertap.get_all_metrics()["cache_metrics"]
    return {name.rpartition(".")[2]: item["total_requests"] for name, item in found.items()}
look(30)
"""
    assert once_in_child(program + CHILD) == {"before": 1, "after": 1}


def test_caches_of_cachetools() -> None:
    pytest.importorskip("cachetools")
    program = """
import threading
metertap.instrument()
import cachetools

@cachetools.cached({}, lock=threading.RLock())
def mapped(number):
    return number

prices = cachetools.LRUCache(5)

def look(times=1):
    for number in range(times):
        mapped(number)
        prices.get(number)

def figures():
    found = metertap.get_all_metrics()["cache_metrics"]
    return {name.rpartition(".")[2]: item["total_requests"] for name, item in found.items()}
look(30)
"""
    assert once_in_child(program + CHILD) == {"mapped": 1, "prices": 1}


@pytest.mark.parametrize("looked", ["", "figures()"], ids=["nobody looked", "somebody looked"])
def test_the_response_cache_of_fastmcp(looked: str) -> None:
    pytest.importorskip("fastmcp.server.middleware.caching")
    program = f"""
import asyncio
from fastmcp import Client, FastMCP
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
metertap.instrument()
cache = ResponseCachingMiddleware(list_tools_settings={{"enabled": False}})
shop = FastMCP("shop", middleware=[cache])

@shop.tool
def double(number: int) -> int:
    return 2 * number

def look(times=1):
    async def main():
        async with Client(shop) as client:
            for _ in range(times):
                await client.call_tool("double", {{"number": 1}})
    asyncio.run(main())

def figures():
    return metertap.get_all_metrics()["cache_metrics"]["shop.responses"]["total_requests"]
look(10)
{looked}
look(10)
"""
    assert once_in_child(program + CHILD) == 1


def test_a_cache_that_its_childs_event_loop_clears() -> None:
    pytest.importorskip("async_lru")
    program = """
import asyncio, warnings
from async_lru import alru_cache

tap = metertap.instrument()
warnings.simplefilter("ignore")  # the library says that it clears the cache

@alru_cache
async def price(item):
    return item

async def once():
    return await price("a")

asyncio.run(once())
def child():
    price.cache_clear()  # the library's own figures will be those of before the fork once more
    asyncio.run(once())
    return tap.snapshot()["cache_metrics"]["__main__.price"]["total_requests"]
"""
    assert once_in_child(program) == 1
