"""Whole lookups in caches: in memory, on disk, and in a real redis server.

The same lookups are made with metertap installed and shut down, alternately in one process, in CPU
time of the thread. redis is left out where `redis-server` is not on the path.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiocache
import diskcache
import django.conf
import redis
from cashews import Cache

from benchmarks.measuring import Ratio, Result, quartile
from benchmarks.process import measured

_LOOKUPS = 1000
_FIRST = 200
_OPENING = 0.05
"""Seconds to wait after the first lookup. The endpoints open with it, and their threads take three
milliseconds. Lookups that share the interpreter's lock with them take half as long again."""
_IN_MEMORY = 1.5e-6
"""What measuring may add to a lookup in memory, in seconds."""
_SHARE = 0.05
"""The same on disk and over a network, as a share of the lookup."""

Lookups = Callable[[], float]
"""Makes lookups that hit, in a cache that is new; returns the seconds that one took."""


def _timed(lookup: Callable[[], object]) -> float:
    lookup()
    time.sleep(_OPENING)
    for _ in range(_FIRST):
        lookup()
    with _without_collections():
        started = time.thread_time()
        for _ in range(_LOOKUPS):
            lookup()
        return (time.thread_time() - started) / _LOOKUPS


async def _timed_later(lookup: Callable[[], Awaitable[object]]) -> float:
    await lookup()
    await asyncio.sleep(_OPENING)
    for _ in range(_FIRST):
        await lookup()
    with _without_collections():
        started = time.thread_time()
        for _ in range(_LOOKUPS):
            await lookup()
        return (time.thread_time() - started) / _LOOKUPS


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _cashews() -> float:
    async def lookups() -> float:
        cache = Cache()
        cache.setup("mem://")
        await cache.set("key", "value")
        return await _timed_later(lambda: cache.get("key"))

    return asyncio.run(lookups())


def _aiocache() -> float:
    async def lookups() -> float:
        cache: Any = aiocache.SimpleMemoryCache()
        await cache.set("key", "value")
        return await _timed_later(lambda: cache.get("key"))

    return asyncio.run(lookups())


def _django() -> float:
    from django.core.cache.backends.locmem import LocMemCache

    if not django.conf.settings.configured:
        django.conf.settings.configure()
    cache = LocMemCache("benchmark", {})
    cache.set("key", "value")
    return _timed(lambda: cache.get("key"))


def _diskcache() -> float:
    with tempfile.TemporaryDirectory() as folder, diskcache.Cache(folder) as cache:
        cache["key"] = "value"
        return _timed(lambda: cache.get("key"))


@contextlib.contextmanager
def _redis_server() -> Iterator[int]:
    """Run a server of our own; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--loglevel", "warning"]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", *options]
        server = subprocess.Popen(command, cwd=Path(folder), stdout=subprocess.DEVNULL)
        try:
            with redis.Redis(port=port) as client:
                while True:
                    with contextlib.suppress(redis.ConnectionError):
                        client.ping()
                        break
            yield port
        finally:
            server.terminate()
            server.wait()


def _redis(port: int) -> float:
    with redis.Redis(port=port) as client:
        client.set("key", "value")
        return _timed(lambda: client.get("key"))


def lookups(rounds: int) -> Iterator[Result]:
    """What measuring adds to a lookup that hits."""
    yield from _in_memory("cashews, in memory", _cashews, rounds)
    yield from _in_memory("aiocache, in memory", _aiocache, rounds)
    yield from _in_memory("Django's locmem", _django, rounds)
    bare, ours = _alternately(_diskcache, rounds)
    yield _share("diskcache", bare, ours)
    if shutil.which("redis-server"):
        with _redis_server() as port:
            bare, ours = _alternately(lambda: _redis(port), rounds)
        yield _share("redis GET", bare, ours)


def _alternately(lookups: Lookups, rounds: int) -> tuple[list[float], list[float]]:
    bare, ours = [], []
    for number in range(2 * rounds + 2):
        with measured() if number % 2 else contextlib.nullcontext():
            (ours if number % 2 else bare).append(lookups())
    return bare[1:], ours[1:]


def _in_memory(row: str, lookups: Lookups, rounds: int) -> Iterator[Result]:
    bare, ours = _alternately(lookups, rounds)
    added = quartile(ours) - quartile(bare)
    least = (min(ours) - min(bare)) / _IN_MEMORY
    ratio = Ratio(added / _IN_MEMORY, *sorted((least, added / _IN_MEMORY)))
    yield Result(f"lookup, {row}", "1.5 µs", ratio, 1.0, added)


def _share(row: str, bare: list[float], ours: list[float]) -> Result:
    added = quartile(ours) - quartile(bare)
    share, least = added / quartile(bare), (min(ours) - min(bare)) / min(bare)
    return Result(
        f"lookup, {row}", "CPU of the lookup", Ratio(share, *sorted((least, share))), _SHARE, added
    )
