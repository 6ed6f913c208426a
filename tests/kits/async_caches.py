"""Asynchronous caches in tests that are not: a loop, and what holds for each such cache."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import pytest

import metertap
from kits.cache_kit import CacheKit, shows_us
from metertap.caching.layers import by

Result = TypeVar("Result")

_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run in the test's loop, which stays open for the timers and locks that caches keep in it.

    In another thread it is a loop for this once.
    """
    global _loop
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(coroutine)
    if _loop is None:
        _loop = asyncio.new_event_loop()
    return _loop.run_until_complete(coroutine)


def close_loop() -> None:
    """Cancel what is left in the test's loop, and close it."""
    global _loop
    if _loop is None:
        return
    left = asyncio.all_tasks(_loop)
    for task in left:
        task.cancel()
    if left:
        _loop.run_until_complete(asyncio.wait(left))
    # A test that drops its cache leaves connections behind that nobody else knows.
    for transport in list(getattr(_loop, "_transports", {}).values()):
        transport.abort()
    _loop.run_until_complete(asyncio.sleep(0))
    _loop.run_until_complete(_loop.shutdown_default_executor())
    _loop.close()
    _loop = None


class OfServer:
    """Mixin of kits whose caches keep their entries in a server, and connections in the loop."""

    bound_to_a_loop = True
    package: str
    """The package that the library asks the server by."""
    serve: Callable[[Path], AbstractContextManager[int]]
    """Starts the server in a folder, and gives its port."""

    @pytest.fixture(autouse=True)
    def server(self, tmp_path: Path) -> Iterator[None]:
        pytest.importorskip(self.package)
        with type(self).serve(tmp_path / "server") as self.port:
            yield

    @pytest.fixture(autouse=True)
    def loop(self, server: None) -> Iterator[None]:
        yield
        close_loop()


class AsyncCacheKit(CacheKit):
    """A cache whose lookup is `await cache.get(key)`."""

    bound_to_a_loop = False
    """Whether its connections are: then lookups at the same time are those of one loop."""

    asks_nobody = False
    """Whether no other cache may be asked meanwhile, so that none has to be told."""

    def asks(self, cache: Any) -> Any:
        """The class whose `_get` a lookup in `cache` ends in."""
        pytest.skip("what a lookup ends in is another library's")

    @pytest.fixture(autouse=True)
    def loop(self) -> Iterator[None]:
        yield
        close_loop()

    def leave_threads(self) -> None:
        if _loop is not None:
            _loop.set_default_executor(ThreadPoolExecutor())

    def only(self) -> tuple[int, int]:
        """What was counted, in all caches there are."""
        assert set(metertap.get_all_metrics()["cache_metrics"]) == {"sessions"}
        return self.counted()

    def test_concurrent_gets_lose_nothing(self, cache: Any) -> None:
        if self.bound_to_a_loop:
            self.test_lookups_at_the_same_time_are_all_counted(cache)
        else:
            super().test_concurrent_gets_lose_nothing(cache)

    def test_lookups_at_the_same_time_are_all_counted(self, cache: Any) -> None:
        self.put(cache, "a", 1)

        async def look() -> None:
            await asyncio.gather(*(cache.get(key) for key in "ab" * 50))

        run(look())
        assert self.only() == (50, 50)

    def test_a_lookup_that_fails_is_neither(
        self, cache: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_args: Any, **_kwargs: Any) -> Any:
            raise ConnectionError("down")

        self.put(cache, "a", 1)
        monkeypatch.setattr(self.asks(cache), "_get", broken)
        with pytest.raises(ConnectionError) as raised:
            run(cache.get("a"))
        assert not shows_us(raised.value)
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_cancellation_passes_and_nothing_is_left_in_the_context(
        self, cache: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def slow(*_args: Any, **_kwargs: Any) -> Any:
            assert self.asks_nobody or by() == self.system
            asked.set()
            await asyncio.sleep(60)

        async def cancel() -> None:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(cache.get("a"), 0.5)
            asked.clear()
            task = asyncio.ensure_future(cache.get("a"))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert by() is None

        self.put(cache, "a", 1)
        asked = asyncio.Event()
        monkeypatch.setattr(self.asks(cache), "_get", slow)
        run(cancel())
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]
