"""Model calls of real clients: what counting them adds.

A server on this machine answers each client once. Then its request gives that answer at once, so
that what is added shows beside some tens of microseconds and not beside milliseconds. The same
calls are made with metertap installed, without it, and with measuring switched off, alternately in
one process, in CPU time of the thread that asks. Whole calls over HTTP are measured as well: there
the same code takes longer, since it is no more in the processor's caches.

A row is the median over the rounds of what the median call of a round takes more; beside it are the
quartiles of the rounds. In a round each way has a client of its own, in an order that is drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import openai
from google import genai

import metertap
from benchmarks.measuring import Result, result

_CALLS, _FIRST = 160, 60
"""The calls of a new client, and those of them that are left out.

When a class is patched, and when that is undone, Python adapts the code that uses it anew, which
takes about fifty calls. A program is measured from its start to its end, and pays that once.
"""
_LIMIT = 50e-6
_ASKED: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_SAID = {"role": "assistant", "content": "yes"}
_CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": _SAID}],
    "usage": _USAGE,
}
_MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "yes"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1200, "output_tokens": 300},
}
_CONTENT = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "yes"}]}, "index": 0}],
    "usageMetadata": {"promptTokenCount": 1200, "candidatesTokenCount": 300},
    "modelVersion": "gemini-2.5-flash",
}
_CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
_EVENTS = [
    *({**_CHUNK, "choices": [{"index": 0, "delta": {"content": "yes"}}]} for _ in range(10)),
    {**_CHUNK, "choices": [], "usage": _USAGE},
]
_STREAM = "".join(f"data: {json.dumps(event)}\n\n" for event in _EVENTS) + "data: [DONE]\n\n"

_order = random.Random(17)
Calls = Callable[[str], list[float]]
"""Makes calls of a new client to a server; returns the seconds that each took."""


class _Answers(BaseHTTPRequestHandler):
    """Answers each kind of request as its provider would."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body: dict[str, Any] = _CHAT if "completions" in self.path else _MESSAGE
        if "generateContent" in self.path:
            body = _CONTENT
        text = _STREAM if asked.get("stream") else json.dumps(body)
        kind = "text/event-stream" if asked.get("stream") else "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """Run the server in a process of its own, or its work would disturb the client's."""
    command = [sys.executable, "-m", "benchmarks.model_calls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


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
        return _timed(lambda: client.chat.completions.create(**_ASKED))


def _openai_stream(url: str) -> list[float]:
    with openai.OpenAI(api_key="key", base_url=f"{url}/v1") as client:
        return _timed(lambda: list(client.chat.completions.create(**_ASKED, stream=True)))


def _openai_async(url: str) -> list[float]:
    async def calls() -> list[float]:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{url}/v1") as client:
            return await _timed_later(lambda: client.chat.completions.create(**_ASKED))

    return asyncio.run(calls())


def _anthropic(url: str) -> list[float]:
    asked = {**_ASKED, "model": "claude-sonnet-4-5", "max_tokens": 9}
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
    with _server() as url:
        for name, (client, owner, method) in _CLIENTS.items():
            with _answered_at_once(client, url, owner, method):
                bare, ours, off = _alternately(client, url, rounds)
            yield _added(f"model call, {name}", ours, bare, 1.0)
            if client is _openai:
                yield _added("model call, switched off", off, bare, 0.2)
        for name, client in (("whole", _openai), ("whole and streamed", _openai_stream)):
            bare, ours, _ = _alternately(client, url, rounds)
            yield _added(f"model call, openai, {name}", ours, bare, 1.0)


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


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
