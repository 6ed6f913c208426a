"""What holds for every framework whose tools are measured: a test class inherits this.

It says how to make a tool of a function, and how to have the framework call it. The functions here
take one text, and return one.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import importlib
import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import metertap
from kits.tool_clock import Odd, ToolClock, both, either
from metertap import state
from metertap.patching.patch_set import PatchSet
from support import breaking
from support.described import described, function_of

SECRET = "sk-marker-4711"


user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


def standing(path: str) -> Any:
    """What stands at a dotted path in its owner's own namespace."""
    module, _, name = path.partition(":")
    *owners, last = name.split(".")
    return vars(functools.reduce(getattr, owners, importlib.import_module(module))).get(last)


def check_put_back(sets: Sequence[PatchSet], measured: metertap.Tap) -> None:
    """Check that what is patched looks as it did before, and stands there again afterwards."""
    paths = [path for item in sets for path in item.bound]
    assert {item.status for item in sets} <= {"installed", "waiting"}
    assert paths
    inside = {path: (standing(path), described(path)) for path in paths}
    measured.shutdown()
    for path, (stand_in, description) in inside.items():
        original = getattr(function_of(stand_in), "__wrapped__", None)
        assert function_of(standing(path)) in {original, None}
        assert described(path) == description


class ToolKit(ToolClock):
    """`make` gives a tool of a function, and `use` has the framework call tools by name."""

    source: str
    instrumentation: Any = None
    """Whose patches are looked at; None where there are none."""
    kinds: tuple[bool, ...] = (False, True)
    """Whether functions may be plain, and async."""
    failed = "exception"
    """How a call is counted whose function raised."""
    timed_out = "timeout"
    """How a call is counted whose function raised a `TimeoutError`."""
    raises = True
    """Whether the program gets what the function raised."""
    refused: str | None = "caller_error"
    """How a call is counted whose arguments do not fit; None where nobody checks."""
    names_are_made_up = False
    """Whether calls may be of tools that there are not."""
    modules: tuple[str, ...] = ()
    """What has to be imported so that all patches are installed."""

    def make(self, function: Callable[..., Any]) -> Any:
        raise NotImplementedError

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """The answers to calls, which are made one after the other."""
        raise NotImplementedError

    # What follows are the tests.

    @pytest.fixture(autouse=True)
    def measured(self) -> Iterator[metertap.Tap]:
        with metertap.instrument(json_endpoint=False) as tap:
            yield tap

    def run(self, function: Callable[..., Any], *texts: Any, name: str = "work") -> list[Any]:
        tool = self.make(function)
        return asyncio.run(self.use([tool], *((name, {"text": text}) for text in texts)))

    def figures(self, name: str = "work") -> dict[str, Any]:
        found: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"][name]
        return found

    def counted(self) -> dict[str, dict[str, int]]:
        """Outcomes that occurred, by tool."""
        tools = metertap.get_all_metrics()["tool_metrics"]
        assert all(tool["active_calls"] == 0 for tool in tools.values())
        assert {tool["source"] for tool in tools.values() if tool["total_calls"]} <= {self.source}
        return {
            name: {outcome: times for outcome, times in tool["outcomes"].items() if times}
            for name, tool in tools.items()
            if tool["total_calls"]
        }

    def skip_unless(self, is_async: bool) -> None:
        if is_async not in self.kinds:
            pytest.skip(f"{self.source} has no such functions")

    @both
    def test_each_call_is_counted_once(self, is_async: bool, measured: metertap.Tap) -> None:
        self.skip_unless(is_async)
        answers = self.run(either(is_async, str.upper), "a", "b")
        assert [str(answer) for answer in answers] == ["A", "B"]
        assert self.counted() == {"work": {"ok": 2}}
        assert self.figures()["window_samples"] == 2
        assert measured.diagnosis()["faults"] == {}

    @both
    @pytest.mark.parametrize("error", [Odd, TimeoutError])
    def test_a_call_that_raises_is_counted_as_that(
        self, is_async: bool, error: type[Exception]
    ) -> None:
        self.skip_unless(is_async)

        def fail(_text: str) -> str:
            raise error(SECRET)

        with contextlib.suppress(Odd, TimeoutError):
            self.run(either(is_async, fail), "a")
        ended = self.timed_out if error is TimeoutError else self.failed
        assert self.counted() == {"work": {ended: 1}}
        assert self.figures()["error_types"] == {error.__name__: 1}

    def test_arguments_that_do_not_fit_are_the_callers_error(self) -> None:
        if self.refused is None:
            pytest.skip(f"{self.source} checks no arguments")
        with contextlib.suppress(Exception):
            self.run(either(self.kinds[-1], str.upper), ["no text"])
        assert self.counted() == {"work": {self.refused: 1}}

    def test_tools_that_there_are_not_share_a_name(self) -> None:
        if not self.names_are_made_up:
            pytest.skip(f"{self.source} is not asked for tools by a model")
        with contextlib.suppress(Exception):
            self.run(either(self.kinds[-1], str.upper), "a", name=SECRET)
        assert self.counted() == {"_OTHER": {"caller_error": 1}}
        assert SECRET not in json.dumps(metertap.get_all_metrics())

    @both
    def test_a_function_that_is_decorated_too_is_one_call(self, is_async: bool) -> None:
        self.skip_unless(is_async)
        self.run(metertap.tool(either(is_async, str.upper)), "a")
        assert self.counted() == {"work": {"ok": 1}}

    def test_a_call_that_is_cancelled_is_no_failure(self) -> None:
        async def main() -> None:
            begun = asyncio.Event()

            async def work(text: str) -> str:
                """Work."""
                begun.set()
                await asyncio.Event().wait()
                return text

            running = asyncio.ensure_future(self.use([self.make(work)], ("work", {"text": "a"})))
            await asyncio.wait_for(begun.wait(), 60)
            assert self.figures()["active_calls"] == 1
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:  # some frameworks leave tasks behind
                task.cancel()
            await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 60)

        asyncio.run(main())
        assert self.counted() == {"work": {"cancelled": 1}}
        assert self.figures()["window_samples"] == 0

    @both
    def test_a_lookup_in_a_call_is_the_tools(self, is_async: bool) -> None:
        self.skip_unless(is_async)
        prompts = metertap.cache_meter("prompts")

        def look(text: str) -> str:
            prompts.hit()
            prompts.miss()
            return text

        self.run(either(is_async, look), "a")
        by_tool = metertap.get_all_metrics()["cache_metrics"]["prompts"]["by_tool"]
        assert by_tool == {"work": {"hits": 1, "misses": 1, "hit_rate": 50.0}}
        assert self.figures()["with_cache"]["missed"]["calls"] == 1

    @both
    def test_many_calls_at_once_are_counted_each(self, is_async: bool) -> None:
        self.skip_unless(is_async)
        tool = self.make(either(is_async, str.upper))

        async def main() -> list[list[Any]]:
            calls = (self.use([tool], ("work", {"text": str(number)})) for number in range(20))
            return await asyncio.gather(*calls)

        assert [str(*answer) for answer in asyncio.run(main())] == [str(n) for n in range(20)]
        assert self.counted() == {"work": {"ok": 20}}

    @both
    def test_a_call_sees_the_context_that_it_would_see(
        self, is_async: bool, measured: metertap.Tap
    ) -> None:
        self.skip_unless(is_async)
        seen: list[object] = []

        def look(text: str) -> str:
            seen.append((user.get(), threading.current_thread() is threading.main_thread()))
            user.set("set inside")
            return text

        tool = self.make(either(is_async, look))

        async def main() -> None:
            user.set("ann")
            await self.use([tool], ("work", {"text": "a"}))
            seen.append(user.get())

        asyncio.run(main())
        measured.shutdown()
        asyncio.run(main())
        assert seen[:2] == seen[2:]

    @both
    def test_an_exception_is_the_same_with_the_same_traceback(
        self, is_async: bool, measured: metertap.Tap
    ) -> None:
        self.skip_unless(is_async)
        if not self.raises:
            pytest.skip(f"{self.source} hands no exceptions on")
        error = Odd(SECRET)

        def fail(_text: str) -> str:
            raise error

        def frames() -> list[str]:
            BaseException.with_traceback(error, None)
            with pytest.raises(Odd) as raised:
                asyncio.run(self.use([tool], ("work", {"text": "a"})))
            assert raised.value is error
            frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            return [*frames, repr(error.__cause__), repr(error.__context__)]

        tool = self.make(either(is_async, fail))
        found = frames()
        measured.shutdown()
        if self.instrumentation is not None and sys.version_info >= (3, 11):
            assert found == frames()

    @pytest.mark.faults
    def test_a_fault_anywhere_in_ours_reaches_nobody(self) -> None:
        def upper_or_fail(text: str) -> str:
            if text == "fail":
                raise Odd(text)
            return text.upper()

        tool = self.make(either(self.kinds[-1], upper_or_fail))
        good, bad = ("work", {"text": "a"}), ("work", {"text": "fail"})

        def use() -> list[str]:
            # Where the program gets answers alone, both calls are made on one connection.
            answers = []
            for calls in [(good,), (bad,)] if self.raises else [(good, bad)]:
                try:
                    answers += asyncio.run(self.use([tool], *calls))
                except Odd as error:
                    answers.append(error)
            return [str(answer) for answer in answers]

        def count() -> dict[str, Any]:
            tools = metertap.get_all_metrics()["tool_metrics"]
            return {
                **{name: (tool["outcomes"], tool["active_calls"]) for name, tool in tools.items()},
                "results": {
                    weight.name: weight.results + weight.unknown + weight.skipped
                    for weight in state.recorder().weight_figures() or ()
                },
            }

        problems = breaking.walk(use, count=count)
        assert not problems, problems

    def test_nothing_of_a_call_gets_out(
        self,
        measured: metertap.Tap,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def fail(text: str) -> str:
            raise Odd(text)

        with caplog.at_level(logging.DEBUG, logger="metertap"):
            for body in (str.upper, fail):
                for text in (SECRET, [SECRET]):
                    with contextlib.suppress(Exception):
                        self.run(either(self.kinds[-1], body), text)
        said = [record.getMessage() for record in caplog.records if record.name == "metertap"]
        shown = json.dumps([metertap.get_all_metrics(), said], default=str)
        assert self.figures()["total_calls"] == 4
        assert SECRET not in shown + str(measured.diagnosis())
        assert capsys.readouterr().out == ""

    def test_before_and_after_nothing_is_counted(self, measured: metertap.Tap) -> None:
        if self.instrumentation is None:
            pytest.skip("what is decorated counts always")
        tool = self.make(either(self.kinds[-1], str.upper))
        asyncio.run(self.use([tool], ("work", {"text": "a"})))
        measured.shutdown()
        asyncio.run(self.use([tool], ("work", {"text": "a"})))
        assert self.counted() == {"work": {"ok": 1}}
        with metertap.instrument(enabled=False, json_endpoint=False):
            asyncio.run(self.use([tool], ("work", {"text": "a"})))
        with metertap.instrument(json_endpoint=False):
            asyncio.run(self.use([tool], ("work", {"text": "a"})))
            assert self.counted() == {"work": {"ok": 2}}

    def test_what_is_patched_looks_the_same_and_is_put_back(self, measured: metertap.Tap) -> None:
        if self.instrumentation is None:
            pytest.skip("nothing is patched")
        for module in self.modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        check_put_back(self.instrumentation.patch_sets, measured)
