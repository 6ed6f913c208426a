"""What holds where a framework runs a tool's function in a thread: a test class inherits this.

The clock stands still but for what a test lets pass, so that every duration is exact.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap.measuring import calls, frameworks, in_threads
from support.metric_data import points
from support.stopped_clock import StoppedClock

WAIT = 8
"""What passes until there is a thread, and until the event loop hears of a thread, in seconds."""
WORK = 2
"""What a function takes."""


fails_too = pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])


class Odd(Exception):
    """What a function raises."""


class BusyPool(ThreadPoolExecutor):
    """asyncio's threads, none of which is free for a while."""

    def __init__(self, wait: Callable[[], None]) -> None:
        super().__init__(8)
        self._wait = wait

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        def late() -> Any:
            self._wait()
            return function(*args, **kwargs)

        return super().submit(late)


class WatchedClock(StoppedClock):
    """Tells when a function that was watched in a thread has ended: the clock is read there."""

    def __init__(self) -> None:
        self.is_read_at_an_end = threading.Event()
        self.function_is_over = False

    def __call__(self) -> float:
        if self.function_is_over and threading.current_thread() is not threading.main_thread():
            self.is_read_at_an_end.set()
        return self.now


class ThreadKit:
    """`make` gives a tool of a plain function, and `use` has the framework call it."""

    def make(self, function: Callable[..., Any]) -> Any:
        raise NotImplementedError

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def measured(self) -> Iterator[metertap.Tap]:
        self.reader = InMemoryMetricReader()
        provider = MeterProvider([self.reader])
        with metertap.instrument(json_endpoint=False, meter_provider=provider) as tap:
            yield tap
            assert tap.diagnosis()["faults"] == {}
        provider.shutdown()

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> WatchedClock:
        clock = WatchedClock()
        for module in (calls, frameworks, in_threads):
            monkeypatch.setattr(module, "clock", clock)
        return clock

    def took(self, outcome: str = "") -> float:
        """The time of the only call, in seconds, which ended so if that is known."""
        figures = metertap.get_all_metrics()["tool_metrics"]["work"]
        assert figures["total_calls"] == figures["outcomes"].get(outcome, 1) == 1
        assert figures["active_calls"] == 0
        (point,) = points(self.reader, "gen_ai.execute_tool.duration")
        seconds: float = point.sum
        return seconds

    async def with_busy_threads(
        self, clock: WatchedClock, function: Callable[..., Any], cancel: bool = False
    ) -> None:
        """Have the function called while all threads are taken, asyncio's and anyio's.

        Once the call waits for one, time passes, and it is cancelled or gets one.
        """
        wanted, free = threading.Event(), threading.Event()

        def wait() -> None:
            wanted.set()
            free.wait()

        asyncio.get_running_loop().set_default_executor(BusyPool(wait))
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        limiter.acquire_on_behalf_of_nowait(self)
        call = asyncio.ensure_future(self.use([self.make(function)], ("work", {"text": "a"})))
        try:
            while not wanted.is_set() and not limiter.statistics().tasks_waiting:
                assert not call.done(), "it waits for no thread"
                await asyncio.sleep(0.001)
            clock.takes(WAIT)
            if cancel:
                call.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await call
        finally:
            limiter.release_on_behalf_of(self)
            free.set()
        with contextlib.suppress(Odd, asyncio.CancelledError):
            await call

    @fails_too
    def test_waiting_for_a_thread_is_not_the_functions_time(
        self, fails: bool, clock: WatchedClock
    ) -> None:
        def work(text: str) -> str:
            """Work."""
            clock.takes(WORK)
            if fails:
                raise Odd(text)
            return text

        asyncio.run(self.with_busy_threads(clock, work))
        assert self.took() == WORK

    @fails_too
    def test_nor_is_the_time_until_a_busy_event_loop_hears_of_its_end(
        self, fails: bool, clock: WatchedClock
    ) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            is_kept = threading.Event()

            def keep() -> None:
                is_kept.set()
                assert clock.is_read_at_an_end.wait(60)
                clock.takes(WAIT)

            def work(text: str) -> str:
                """Work."""
                loop.call_soon_threadsafe(keep)
                is_kept.wait()
                clock.takes(WORK)
                clock.function_is_over = True
                if fails:
                    raise Odd(text)
                return text

            with contextlib.suppress(Odd):
                await self.use([self.make(work)], ("work", {"text": "a"}))

        asyncio.run(main())
        assert self.took() == WORK

    def test_a_call_that_is_cancelled_before_there_is_a_thread_takes_as_long_as_it_waited(
        self, clock: WatchedClock
    ) -> None:
        def work(text: str) -> str:
            """Work."""
            clock.takes(WORK)
            return text

        asyncio.run(self.with_busy_threads(clock, work, cancel=True))
        assert self.took("cancelled") == WAIT
