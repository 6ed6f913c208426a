"""Model calls of real clients: what counting them adds.

A server on this machine answers each client once. Then its request gives that answer at once, so
that what is added shows beside some tens of microseconds and not beside milliseconds. The same
calls are made with metertap installed, without it, and with measuring switched off, alternately in
one process, in CPU time of the thread that asks. Whole calls over HTTP are measured as well, by
`model_calls_in_place`.

A row is the median over the rounds of what the median call of a round takes more; beside it are the
quartiles of the rounds. In a round each way has a client of its own, in an order that is drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import anthropic
import openai
from google import genai

import metertap
from benchmarks import model_calls_in_place
from benchmarks.measuring import Result, result
from benchmarks.model_server import ASKED, serving

_CALLS, _FIRST = 160, 60
"""The calls of a new client, and those of them that are left out.

When a class is patched, and when that is undone, Python adapts the code that uses it anew, which
takes about fifty calls. A program is measured from its start to its end, and pays that once.
"""
_LIMIT = 50e-6
_order = random.Random(17)
Calls = Callable[[str], list[float]]
"""Makes calls of a new client to a server; returns the seconds that each took."""


def _timed(ask: Callable[[], object]) -> list[float]:
    found = []
    with metertap.measure_tool("asks"):
        for _ in range(_CALLS):
            started = time.thread_time()
            ask()
            found.append(time.thread_time() - started)
    return found


async def _timed_later(ask: Callable[[], Awaitable[object]]) -> list[float]:
    found = []
    with metertap.measure_tool("asks"):
        for _ in range(_CALLS):
            started = time.thread_time()
            await ask()
            found.append(time.thread_time() - started)
    return found


def _openai(url: str) -> list[float]:
    with openai.OpenAI(api_key="key", base_url=f"{url}/v1") as client:
        return _timed(lambda: client.chat.completions.create(**ASKED))


def _openai_async(url: str) -> list[float]:
    async def calls() -> list[float]:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{url}/v1") as client:
            return await _timed_later(lambda: client.chat.completions.create(**ASKED))

    return asyncio.run(calls())


def _anthropic(url: str) -> list[float]:
    asked = {**ASKED, "model": "claude-sonnet-4-5", "max_tokens": 9}
    with anthropic.Anthropic(api_key="key", base_url=url) as client:
        return _timed(lambda: client.messages.create(**asked))


def _google(url: str) -> list[float]:
    client = genai.Client(api_key="key", http_options={"base_url": url})
    return _timed(
        lambda: client.models.generate_content(model="gemini-2.5-flash", contents="hello")
    )


_CLIENTS: dict[str, tuple[Calls, Any, str]] = {
    "openai": (_openai, openai._base_client.SyncAPIClient, "request"),
    "openai, async": (_openai_async, openai._base_client.AsyncAPIClient, "request"),
    "anthropic": (_anthropic, anthropic._base_client.SyncAPIClient, "request"),
    "google-genai": (_google, genai.models.Models, "_generate_content"),
}
"""By name: the calls, and the class and the method by which a request is made."""


def calls(rounds: int) -> Iterator[Result]:
    """What counting adds to a call of each client, and to one where measuring is switched off."""
    with serving() as url:
        for name, (client, owner, method) in _CLIENTS.items():
            with _answered_at_once(client, url, owner, method):
                bare, ours, off = _alternately(client, url, rounds)
            yield _added(f"model call, {name}", ours, bare, 1.0)
            if client is _openai:
                yield _added("model call, switched off", off, bare, 0.2)
        yield from model_calls_in_place.calls(url, 3)


@contextlib.contextmanager
def _answered_at_once(client: Calls, url: str, owner: Any, method: str) -> Iterator[None]:
    """Have a class's method return what it returned before to such a call."""
    original = getattr(owner, method)
    answers: list[Any] = []
    is_async = inspect.iscoroutinefunction(original)

    def ask(self: Any, *args: Any, **kwargs: Any) -> Any:
        answers.append(original(self, *args, **kwargs))
        return answers[-1]

    async def ask_later(self: Any, *args: Any, **kwargs: Any) -> Any:
        answers.append(await original(self, *args, **kwargs))
        return answers[-1]

    async def answer_later(*_: Any, **_named: Any) -> Any:
        return answers[-1]

    try:
        setattr(owner, method, ask_later if is_async else ask)
        client(url)
        setattr(owner, method, answer_later if is_async else lambda *_, **_named: answers[-1])
        yield
    finally:
        setattr(owner, method, original)


def _alternately(client: Calls, url: str, rounds: int) -> list[list[float]]:
    """The median call of each round without metertap, with it, and with it switched off."""
    found: list[list[float]] = [[], [], []]
    client(url)  # the first calls pay for imports
    ways: list[Callable[[], Any]] = [
        contextlib.nullcontext,
        partial(metertap.instrument, json_endpoint=False),
        partial(metertap.instrument, enabled=False),
    ]
    for _ in range(rounds):
        for number in _order.sample(range(3), 3):  # what comes first differs from what comes later
            with ways[number]():
                found[number].append(statistics.median(client(url)[_FIRST:]))
    return found


def _added(row: str, ours: list[float], bare: list[float], limit: float | None) -> Result:
    added = [one - other for one, other in zip(ours, bare, strict=True)]
    return result(row, "50 µs", added, [_LIMIT] * len(added), limit)
