"""What holds for the time of a tool's call, whatever framework makes it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_core import core_schema

from support.intervals import SlowLog, Steps, is_the_handlers

SLOW_SECONDS = 0.1


class Odd(Exception):
    """What a handler raises."""


Around = Callable[[], contextlib.AbstractContextManager[Any]]


def either(
    is_async: bool, body: Callable[[str], str], around: Around = contextlib.nullcontext
) -> Callable[..., Any]:
    """A tool's function named `work` that does what `body` does: plain or async.

    All of it runs in a context of `around`. An async one lets other tasks run meanwhile.
    """

    def work(text: str) -> str:
        """Work."""
        with around():
            return body(text)

    async def work_later(text: str) -> str:
        """Work."""
        with around():
            await asyncio.sleep(0)
            return body(text)

    work_later.__name__ = work_later.__qualname__ = "work"
    return work_later if is_async else work


both = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


class ToolClock:
    """A part of `ToolKit`: a call takes as long as the tool's own function."""

    source: str
    validates = False
    """Whether the framework validates arguments as the function's annotations say."""

    def skip_unless(self, is_async: bool) -> None:
        raise NotImplementedError

    def run(self, function: Callable[..., Any], *texts: Any, name: str = "work") -> list[Any]:
        raise NotImplementedError

    def figures(self, name: str = "work") -> dict[str, Any]:
        raise NotImplementedError

    @both
    @pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
    def test_a_call_takes_as_long_as_its_function(self, is_async: bool, fails: bool) -> None:
        """Neither what the framework logs, nor what it makes of an answer, is the tool's time."""
        self.skip_unless(is_async)
        handlers = Steps()

        def work(text: str) -> str:
            time.sleep(SLOW_SECONDS)
            if fails:
                raise Odd(text)
            return text

        slow, root = SlowLog(SLOW_SECONDS), logging.getLogger()
        level = root.level
        root.addHandler(slow)
        root.setLevel(logging.DEBUG)
        try:
            with contextlib.suppress(Odd):
                self.run(either(is_async, work, handlers.step), "a")
        finally:
            root.removeHandler(slow)
            root.setLevel(level)
        (handler,) = handlers.made
        seconds = self.figures()["max_latency_ms"] / 1000
        assert is_the_handlers(seconds, handler, slow.records)

    @both
    def test_validation_is_not_the_functions_time(self, is_async: bool) -> None:
        self.skip_unless(is_async)
        if not self.validates:
            pytest.skip(f"{self.source} validates no arguments")
        handlers, validations = Steps(), Steps()

        def slowly(text: str) -> str:
            with validations.step():
                time.sleep(SLOW_SECONDS)
            return text

        class Slow(str):  # older frameworks make nothing of `Annotated`
            __slots__ = ()

            @classmethod
            def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
                text = core_schema.str_schema()
                return core_schema.no_info_after_validator_function(slowly, text)

        function = either(is_async, str.upper, handlers.step)
        function.__annotations__ = dict.fromkeys(["text", "return"], Slow)
        self.run(function, "a")
        (handler,) = handlers.made
        assert validations.made
        seconds = self.figures()["max_latency_ms"] / 1000
        assert is_the_handlers(seconds, handler, validations)
