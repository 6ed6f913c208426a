"""Whole MCP `tools/call`s in memory: what metertap adds, told apart inside each call.

What metertap adds to a call is less than what two calls differ by on a busy machine. So a function
stands around each method that metertap patches, as that leaves it, and another one inside, around
the method as it was: what is added is the time between these two, in the median call. What they
take themselves is measured without metertap, and taken off. A handler's function, which metertap
may replace on its way to the thread that runs it, has two such functions as well.

Not in it is what is done once in a thousand calls, the fold; and what a wait takes longer when
frames of ours stand around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import operator
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from types import FunctionType
from typing import Any
from unittest import mock

from benchmarks import mcp
from benchmarks.measuring import Result, result
from benchmarks.process import measured
from metertap.patching.parameters import shaped
from metertap_instrumentation.libraries import parse_version
from metertap_instrumentation.tools.mcp import INSTRUMENTATION

_CALLS, _FIRST = 500, 100
"""The calls of a round, and those before them."""
_ROUNDS = 5
_LAYER = """
{kind} call({parameters}):
    _began = _clock()
    _result = {call}
    _note(_clock() - _began)
    return _result
"""
_RUNNER = _LAYER.replace("    _began", "    _1 = _layered(_1)\n    _began", 1)
"""A layer around a method whose second parameter is the handler's function, which it layers."""
_HANDLER = "handler"
_clock = time.perf_counter

Steps = dict[str, list[float]]
"""The seconds of each call of a method, by its name."""


def calls(rounds: int) -> Iterator[Result]:
    """What measuring adds to a call, and to each method: its share of the call's CPU."""
    logging.getLogger("mcp").setLevel(logging.WARNING)
    for name, build, limit in mcp.SERVERS:
        spent, of_layers, with_ours = [], [], []
        for _ in range(min(rounds, _ROUNDS)):
            spent.append(_spent(build))
            of_layers.append(_between(build, contextlib.nullcontext))
            with_ours.append(_between(build, measured))
        whole = [statistics.median(spent)] * len(spent)
        bare = {
            method: statistics.median(each[method] for each in of_layers) for method in of_layers[0]
        }
        added = {method: [each[method] - bare[method] for each in with_ours] for method in bare}
        row = f"mcp calls in place, {mcp.MAJOR}.x {name}"
        in_all = [sum(each.values()) - sum(bare.values()) for each in with_ours]
        yield result(row, "CPU of the call", in_all, whole, limit)
        for method, seconds in added.items():
            yield result(f"{row}, {method}", "CPU of the call", seconds, whole, None)


def _between(build: Callable[[], Any], way: Callable[[], Any]) -> dict[str, float]:
    """Return the seconds of a call between the two layers of each method, by medians."""
    inside: Steps = {}
    around: Steps = {}
    with _layered(inside, around), way(), _layered(around, inside):
        _spent(build, inside, around)
    between = {}
    for name, outer in around.items():
        if times := len(outer) // _CALLS:
            steps = map(operator.sub, outer, inside[name])
            between[name] = statistics.median(steps) * times
    return between


@contextlib.contextmanager
def _layered(steps: Steps, of_handler: Steps) -> Iterator[None]:
    """Put a layer around each method that metertap patches, as it stands now."""
    with contextlib.ExitStack() as undo:
        for owner, name in _patched():
            names: dict[str, Any] = {}
            if name.startswith("call_fn"):
                names["layered"] = functools.partial(_around_handler, of_handler)
            layer = _layer(name, getattr(owner, name), steps, **names)
            undo.enter_context(mock.patch.object(owner, name, layer))
        yield


def _layer(name: str, method: Any, steps: Steps, **names: Any) -> Any:
    """Return what stands around a method, and notes how long each of its calls takes."""
    note = steps.setdefault(name, []).append
    source = _RUNNER if names else _LAYER
    return functools.wraps(method)(shaped(method, source, clock=_clock, note=note, **names))


def _around_handler(steps: Steps, function: Any) -> Any:
    """Return the same around a handler's function. The outer layer of a method makes the inner."""
    note = steps.setdefault(_HANDLER, []).append

    def call(**arguments: Any) -> Any:
        began = _clock()
        result = function(**arguments)
        note(_clock() - began)
        return result

    return call


def _patched() -> Iterator[tuple[Any, str]]:
    """Give the owner and the name of each method that metertap patches and that is imported."""
    choose: Any = INSTRUMENTATION._choose
    for patch_set in choose(parse_version(metadata.version("mcp"))):
        for target in patch_set.targets:
            *path, name = target.attribute.split(".")
            owner: Any = sys.modules.get(patch_set.module)
            for part in path:
                owner = getattr(owner, part, None)
            for kind in getattr(owner, "__mro__", [owner]):  # a method may be inherited
                if type(vars(kind).get(name) if kind else None) is FunctionType:
                    yield kind, name
                    break


def _spent(build: Callable[[], Any], *steps: Steps) -> float:
    """Return the CPU seconds of one call, on average; what was noted before is forgotten."""

    def forget() -> None:
        for seconds in (seconds for each in steps for seconds in each.values()):
            seconds.clear()

    return asyncio.run(mcp.spent(build, _CALLS, _FIRST, time.process_time, forget))
