"""One run of a LangChain tool: its whole time, and what measuring adds to it.

A run takes some hundred microseconds and varies by more than what is asked here. So the run that is
patched is replaced by one that returns at once, and measured patched and bare; the run itself is
timed beside these, with nothing in its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.tools import BaseTool, tool

from benchmarks import baselines
from benchmarks.measuring import Result, Work, above, awaited, interleaved, result, timed
from benchmarks.process import measured


@tool
def work(number: int) -> int:
    """Return it."""
    return number


@tool
async def awork(number: int) -> int:
    """Return it, too."""
    return number


class Bare(BaseTool):
    """The least that is a tool: what it is given is passed on unseen."""

    name: str = "bare"
    description: str = "Return it."

    def _run(self, given: str) -> str:
        return given


_ARGUMENTS = {"number": 1}
_OPTIONS: dict[str, Any] = {
    "callbacks": None,
    "tags": [],
    "metadata": {},
    "run_name": None,
    "run_id": None,
    "config": {},
    "tool_call_id": None,
}
"""What `invoke` passes to `run`."""


def _run(self: Any, tool_input: Any, **options: Any) -> Any:
    return None


async def _arun(self: Any, tool_input: Any, **options: Any) -> Any:
    return None


def _replaced(name: str, function: Any, options: dict[str, Any] = _OPTIONS) -> Work:
    """Calls of a method of `BaseTool` while `function` stands in its place."""

    def once() -> Any:
        return getattr(work, name)(_ARGUMENTS, **options)

    calls = timed(once) if name == "run" else awaited(once)

    def replaced(times: int) -> float:
        original = vars(BaseTool)[name]
        setattr(BaseTool, name, function)
        try:
            return calls(times)
        finally:
            setattr(BaseTool, name, original)

    return replaced


def runs(rounds: int) -> Iterator[Result]:
    """`invoke` and `ainvoke` of `@tool`, and `run` of a tool without a schema, the cheapest."""
    sdk, bare = baselines.Sdk(), Bare()
    originals = {"run": BaseTool.run, "arun": BaseTool.arun}
    stubs: dict[str, Any] = {"run": _run, "arun": _arun}
    wholes = {
        "invoke": timed(lambda: work.invoke(_ARGUMENTS)),
        "cheapest": timed(lambda: bare.run("1")),
        "ainvoke": awaited(lambda: awork.ainvoke(_ARGUMENTS)),
    }
    works: dict[str, Work] = {"direct bare": _replaced("run", stubs["run"], {})}
    for name, stub in stubs.items():
        works[f"{name} bare"] = _replaced(name, stub)
        works[f"{name} nothing"] = _replaced(name, baselines.wrapped(stub, baselines.do_nothing))
    works["run sdk"] = _replaced("run", baselines.wrapped(stubs["run"], sdk.plain))
    works["arun sdk"] = _replaced("arun", baselines.wrapped(stubs["arun"], sdk.coroutine))
    for name, stub in stubs.items():
        setattr(BaseTool, name, stub)
    try:
        with measured() as tap:
            works["direct ours"] = _replaced("run", BaseTool.run, {})
            for name in stubs:
                works[f"{name} ours"] = _replaced(name, vars(BaseTool)[name])
            seconds = interleaved(works, rounds=rounds, times=2000, fewer=("run sdk", "arun sdk"))
            assert tap.snapshot()["tool_metrics"]["work"]["total_calls"] >= rounds * 4000
    finally:
        for name, original in originals.items():
            setattr(BaseTool, name, original)
    seconds |= interleaved(wholes, rounds=rounds, times=200)
    for row, name, whole in (
        ("LangChain tool.invoke", "run", "invoke"),
        ("LangChain tool.ainvoke", "arun", "ainvoke"),
        ("LangChain tool without a schema", "direct", "cheapest"),
    ):
        ours = above(seconds, f"{name} ours", f"{name} bare")
        yield result(row, "time of the call", ours, seconds[whole], 0.01)
        if whole != "cheapest":
            nothing = above(seconds, f"{name} nothing", f"{name} bare")
            yield result(row, "wrapt that does nothing", ours, nothing, None)
            yield result(
                row, "wrapt + SDK", ours, above(seconds, f"{name} sdk", f"{name} bare"), None
            )
