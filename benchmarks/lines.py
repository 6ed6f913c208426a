"""Dispatchers of the program's own, measured by a line of the configuration file."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

from benchmarks import baselines
from benchmarks.measuring import Result, Work, above, awaited, interleaved, result, timed
from benchmarks.process import measured
from metertap.measuring import calls
from metertap.measuring.slots import ToolSlot
from metertap.measuring.wrappers import coroutine_wrapper, plain_wrapper
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap_instrumentation.tools.configured import Configured

_LIBRARY = "benchmarks_dispatcher"
_LINES = {
    "by_argument": {"name": "arg:tool_name"},
    "of_known": {"name": "arg:tool_name", "known": "attr:tools"},
    "in_message": {"name": "arg:tool_name.params.name"},
    "judged": {"name": "arg:tool_name", "failed": "key:error"},
    "later": {"name": "arg:tool_name"},
}


def _dispatcher() -> Any:
    """An object with a method for each line, which does nothing."""

    def plain(self: Any, tool_name: Any, number: int) -> int:
        return number

    async def later(self: Any, tool_name: Any, number: int) -> int:
        return number

    methods = dict.fromkeys((*_LINES, "bare", "sdk", "fixed"), plain)
    methods |= dict.fromkeys(("later", "bare_later", "sdk_later", "fixed_later"), later)
    module = types.ModuleType(_LIBRARY)
    module.Dispatcher = type("Dispatcher", (), {**methods, "tools": {"work": plain}})  # type: ignore[attr-defined]
    sys.modules[_LIBRARY] = module
    return module.Dispatcher()


def dispatchers(rounds: int) -> Iterator[Result]:
    """A method whose argument names the tool, above the bare method."""
    with measured():
        dispatcher = _dispatcher()
        sdk = baselines.Sdk()
        fixed = plain_wrapper(ToolSlot("fixed", "library", calls.PATCH))
        fixed_later = coroutine_wrapper(ToolSlot("later", "library", calls.PATCH))
        wrappers = {
            "sdk": sdk.plain,
            "sdk_later": sdk.coroutine,
            "fixed": fixed,
            "fixed_later": fixed_later,
        }
        patches = PatchSet(
            _LIBRARY, [Target(f"Dispatcher.{name}", wrapper) for name, wrapper in wrappers.items()]
        )
        patches.install()
        lines = Configured("benchmark", "lines")
        lines.configure({f"{_LIBRARY}:Dispatcher.{name}": line for name, line in _LINES.items()})
        lines.install()
        assert all(patch_set.bound for patch_set in lines.patch_sets), "a line is not bound"

        works: dict[str, Work] = {}
        for name in ("bare", "sdk", "fixed", "by_argument", "of_known", "judged"):
            method = getattr(dispatcher, name)
            works[name] = timed(lambda method=method: method("work", 1))
        message = {"params": {"name": "work"}}
        works["in_message"] = timed(lambda: dispatcher.in_message(message, 1))
        for name in ("bare_later", "sdk_later", "fixed_later", "later"):
            method = getattr(dispatcher, name)
            works[name] = awaited(lambda method=method: method("work", 1))
        fewer = ("sdk", "sdk_later")
        seconds = interleaved(works, rounds=rounds, times=4000, fewer=fewer)
        lines.uninstall()
        patches.uninstall()

    cost = {name: above(seconds, name, "bare") for name in works}
    row = "dispatcher, by a line"
    yield result(row, "wrapt + SDK", cost["by_argument"], cost["sdk"], 0.12)
    yield result(row, "a patch of one tool", cost["by_argument"], cost["fixed"], 1.3)
    for name, shown in (
        ("of_known", "of known names"),
        ("in_message", "named in a message"),
        ("judged", "whose results are judged"),
    ):
        yield result(f"the same, {shown}", "wrapt + SDK", cost[name], cost["sdk"], None)
    later = above(seconds, "later", "bare_later")
    sdk_later = above(seconds, "sdk_later", "bare_later")
    yield result("async dispatcher, by a line", "wrapt + SDK", later, sdk_later, 0.14)
    yield result(
        "async dispatcher, by a line",
        "a patch of one tool",
        later,
        above(seconds, "fixed_later", "bare_later"),
        None,
    )
