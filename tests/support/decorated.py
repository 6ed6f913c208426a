"""A function of each kind, decorated, that fails if it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import metertap


@metertap.tool
def plain(fail: bool = False) -> int:
    if fail:
        raise KeyError("plain")
    return 1


@metertap.tool
async def coroutine(fail: bool = False) -> int:
    await asyncio.sleep(0)
    if fail:
        raise KeyError("coroutine")
    return 1


@metertap.tool
def generator(fail: bool = False) -> Iterator[int]:
    yield 1
    if fail:
        raise KeyError("generator")


@metertap.tool
async def async_generator(fail: bool = False) -> AsyncIterator[int]:
    yield 1
    if fail:
        raise KeyError("async generator")
