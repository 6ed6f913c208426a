"""Whole model calls over HTTP: what counting adds, told apart inside each call.

A call over HTTP takes milliseconds of a processor, and differs from the next one by more than what
is added. So a function stands around the method of the client's class as metertap leaves it, and
another one inside, around the method as it was: what is added is the time before and after that.
Around a stream's iterator stand generators alike. What all of these take is measured without
metertap, and taken off.

The same code takes longer here than where the answer is there at once (`model_calls`): between two
calls it is no more in the processor's caches.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import openai

import metertap
from benchmarks.measuring import Result, result
from benchmarks.model_server import ASKED

_CALLS, _FIRST = 300, 60
"""The calls of a round, and those of them that are left out."""
_LIMIT = 50e-6
_OWNER: Any = openai._base_client.SyncAPIClient
_clock = time.perf_counter


class _Step:
    """What one layer took: when it began and ended, and the time of its stream's items."""

    began = ended = items = 0.0


def _layer(method: Callable[..., Any], steps: list[_Step]) -> Callable[..., Any]:
    """Return what stands around a method, and notes each of its calls."""

    @functools.wraps(method)
    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        step = _Step()
        steps.append(step)
        step.began = _clock()
        response = method(self, *args, **kwargs)
        if isinstance(response, openai.Stream):
            response._iterator = _items(response._iterator, step)
        step.ended = _clock()
        return response

    return request


def _items(iterator: Iterator[Any], step: _Step) -> Iterator[Any]:
    while True:
        began = _clock()
        try:
            item = next(iterator)
        except StopIteration:
            step.items += _clock() - began
            return
        step.items += _clock() - began
        yield item


def calls(url: str, rounds: int) -> Iterator[Result]:
    """What counting adds to a call of openai's client, and to one that streams eleven chunks."""
    for name, is_streamed in (("whole", False), ("whole and streamed", True)):
        bare: list[float] = []
        ours: list[float] = []
        for _ in range(rounds):
            bare += _between(url, is_streamed, contextlib.nullcontext)
            ours += _between(url, is_streamed, partial(metertap.instrument, json_endpoint=False))
        of_layers = statistics.median(bare)
        added = [seconds - of_layers for seconds in ours]
        yield result(f"model call, openai, {name}", "50 µs", added, [_LIMIT] * len(added), 1.0)


def _between(url: str, is_streamed: bool, way: Callable[[], Any]) -> list[float]:
    """Return the seconds between the two layers in each call of a new client."""
    original = _OWNER.request
    inside: list[_Step] = []
    around: list[_Step] = []
    _OWNER.request = _layer(original, inside)
    try:
        with way():
            measured = _OWNER.request
            _OWNER.request = _layer(measured, around)
            try:
                _ask(url, is_streamed)
            finally:
                _OWNER.request = measured
    finally:
        _OWNER.request = original
    return [
        (inner.began - outer.began) + (outer.ended - inner.ended) + (outer.items - inner.items)
        for outer, inner in zip(around, inside, strict=True)
    ][_FIRST:]


def _ask(url: str, is_streamed: bool) -> None:
    client = openai.OpenAI(api_key="key", base_url=f"{url}/v1")
    with client, metertap.measure_tool("asks"):
        for _ in range(_CALLS):
            response = client.chat.completions.create(**ASKED, stream=is_streamed)
            if is_streamed:
                list(response)
