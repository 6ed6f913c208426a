"""The caller's path: one tool call, one cache event."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterator

import metertap
from benchmarks import baselines
from benchmarks.measuring import Result, Work, above, awaited, interleaved, result, timed
from benchmarks.process import measured
from metertap.measuring import calls, functions, wrappers
from metertap.measuring.slots import ToolSlot
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target

_LIBRARY = "benchmarks_library"


def work(number: int) -> int:
    """What a tool does here: nothing, so that all else shows."""
    return number


async def work_later(number: int) -> int:
    """The same, async."""
    return number


def patched() -> tuple[types.ModuleType, PatchSet]:
    """A library with both, patched as an instrumentor does it."""
    module = types.ModuleType(_LIBRARY)
    module.work, module.work_later = work, work_later  # type: ignore[attr-defined]
    sys.modules[_LIBRARY] = module
    targets = [
        Target(
            attribute,
            wrapper(ToolSlot(attribute, "library", calls.PATCH)),
            replacement=functions.replacement(attribute, "library", calls.PATCH),
        )
        for attribute, wrapper in (
            ("work", wrappers.plain_wrapper),
            ("work_later", wrappers.coroutine_wrapper),
        )
    ]
    patches = PatchSet(_LIBRARY, targets)
    patches.install()
    return module, patches


def tool_calls(rounds: int) -> Iterator[Result]:
    """Sync, async and decorated, above the bare function."""
    with measured():
        library, patches = patched()
        sdk, least = baselines.Sdk(), baselines.TwoClocksAndAnAppend()
        client, singleton = baselines.PrometheusClient(), baselines.Singleton()
        decorated = metertap.tool(work)

        def by_hand() -> None:
            started = time.perf_counter()
            work(1)
            singleton.record_tool_call("work", True, (time.perf_counter() - started) * 1000.0)

        functions = {
            "nothing": baselines.wrapped(work, baselines.do_nothing),
            "least": baselines.wrapped(work, least.plain),
            "sdk": baselines.wrapped(work, sdk.plain),
            "client": baselines.wrapped(work, client.plain),
            "patched": library.work,
            "decorated": decorated,
        }
        works: dict[str, Work] = {"bare": timed(lambda: work(1)), "by hand": timed(by_hand)}
        for name, function in functions.items():
            works[name] = timed(lambda function=function: function(1))
        sdk_later = baselines.wrapped(work_later, sdk.coroutine)
        works["bare later"] = awaited(lambda: work_later(1))
        works["sdk later"] = awaited(lambda: sdk_later(1))
        works["patched later"] = awaited(lambda: library.work_later(1))
        seconds = interleaved(works, rounds=rounds, times=4000, fewer=("sdk", "sdk later"))
        patches.uninstall()

    cost = {name: above(seconds, name, "bare") for name in works if "later" not in name}
    row = "sync tool call, patched"
    yield result(row, "wrapt + SDK", cost["patched"], cost["sdk"], 0.10)
    yield result(row, "wrapt + 2 clocks + append", cost["patched"], cost["least"], 1.3)
    yield result(row, "wrapt that does nothing", cost["patched"], cost["nothing"], None)
    yield result(row, "wrapt + prometheus_client", cost["patched"], cost["client"], None)
    later = above(seconds, "patched later", "bare later")
    yield result(
        "async tool call, patched",
        "wrapt + SDK",
        later,
        above(seconds, "sdk later", "bare later"),
        0.12,
    )
    row = "@metertap.tool, plain function"
    yield result(row, "wrapt + SDK", cost["decorated"], cost["sdk"], 0.05)
    yield result(row, "singleton, by hand", cost["decorated"], cost["by hand"], 1.0)


def cache_events(rounds: int) -> Iterator[Result]:
    """`prompts.hit()`, outside and inside a tool call."""
    with measured():
        singleton, sdk = baselines.Singleton(), baselines.Sdk()
        hit = metertap.cache_meter("prompts").hit

        @metertap.tool
        def inside(times: int) -> float:
            return timed(hit)(times)

        seconds = interleaved(
            {
                "empty": timed(lambda: None),
                "hit": timed(hit),
                "hit inside": inside,
                "singleton": timed(lambda: singleton.record_cache_hit("prompts")),
                "sdk": timed(sdk.hit),
            },
            rounds=rounds,
            times=4000,
            fewer=("sdk",),
        )
    # The singleton's is called with a name, so it pays for a lambda here that ours does without.
    singletons = above(seconds, "singleton", "empty")
    yield result("cache hit, outside a tool", "singleton", seconds["hit"], singletons, 0.5)
    yield result("cache hit, in a tool call", "singleton", seconds["hit inside"], singletons, 0.5)
    yield result(
        "cache hit, in a tool call", "SDK counter", seconds["hit inside"], seconds["sdk"], None
    )
