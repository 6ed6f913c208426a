"""Model clients of three providers at once: to a real Prometheus, and a thousand tools together."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import certifi
import pytest

import metertap
from servers.model_api import Answer, ModelApi
from servers.real_servers import prometheus
from support.waiting import wait_for

PRICES = """
[tool.metertap.prices]
"openai/gpt" = { input = 2.5, cached = 1.25, output = 10 }
"anthropic/claude" = { input = 3, cached = 0.3, cache_write = 3.75, output = 15 }
"gcp.gemini/gemini" = { input = 1.25, cached = 0.3, output = 10 }
"""
TOOLS = {"openai": 1000, "anthropic": 100, "google": 100}
"""By package: a thousand take a client seconds, and anthropic's is openai's inside."""


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metertap.toml").write_text(PRICES)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    # Nothing here is encrypted, and to read every authority there is takes a client long.
    whole = Path(certifi.where()).read_text(encoding="utf-8")
    first = whole[whole.index("-----BEGIN") : whole.index("-----END CERTIFICATE-----") + 26]
    (tmp_path / "one.pem").write_text(first)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one.pem"))


@dataclass(frozen=True)
class Client:
    """One provider's client: how it asks, what it is answered, and what that costs by hand."""

    package: str
    provider: str
    answer: Callable[[int], dict[str, Any]]
    """The body of an answer to a request whose input took so many tokens."""
    opened: Callable[[str, bool], Any]
    """Makes a client that asks at an address; of its async kind where the second is true."""
    ask: Callable[[Any], Any]
    each: Decimal
    """USD of an answer to 1,000 tokens of input."""


def openai_answer(taken: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": "answered"}
    usage = {
        "prompt_tokens": taken,
        "completion_tokens": 300,
        "total_tokens": taken + 300,
        "prompt_tokens_details": {"cached_tokens": 200},
    }
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": usage,
    }


def openai_client(url: str, is_async: bool) -> Any:
    openai = pytest.importorskip("openai")
    made = openai.AsyncOpenAI if is_async else openai.OpenAI
    return made(api_key="key", base_url=f"{url}/v1", timeout=600)


def anthropic_answer(taken: int) -> dict[str, Any]:
    usage = {
        "input_tokens": taken - 300,
        "cache_read_input_tokens": 200,
        "cache_creation_input_tokens": 100,
        "output_tokens": 300,
    }
    return {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "answered"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def anthropic_client(url: str, is_async: bool) -> Any:
    anthropic = pytest.importorskip("anthropic")
    made = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
    return made(api_key="key", base_url=url, timeout=600)


def google_answer(taken: int) -> dict[str, Any]:
    said = {"role": "model", "parts": [{"text": "answered"}]}
    return {
        "candidates": [{"content": said, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": taken,
            "cachedContentTokenCount": 200,
            "candidatesTokenCount": 250,
            "thoughtsTokenCount": 50,
        },
        "modelVersion": "gemini",
    }


def google_client(url: str, is_async: bool) -> Any:
    genai = pytest.importorskip("google.genai")
    made = genai.Client(api_key="key", http_options={"base_url": url})
    return made.aio if is_async else made


SAID: Any = [{"role": "user", "content": "hello"}]
CLIENTS = [
    Client(
        "openai",
        "openai",
        openai_answer,
        openai_client,
        lambda client: client.chat.completions.create(model="gpt", messages=SAID),
        (800 * Decimal("2.5") + 200 * Decimal("1.25") + 300 * Decimal(10)) / 1_000_000,
    ),
    Client(
        "anthropic",
        "anthropic",
        anthropic_answer,
        anthropic_client,
        lambda client: client.messages.create(model="claude", max_tokens=9, messages=SAID),
        (700 * 3 + 200 * Decimal("0.3") + 100 * Decimal("3.75") + 300 * Decimal(15)) / 1_000_000,
    ),
    Client(
        "google",
        "gcp.gemini",
        google_answer,
        google_client,
        lambda client: client.models.generate_content(model="gemini", contents="hello"),
        (800 * Decimal("1.25") + 200 * Decimal("0.3") + 300 * Decimal(10)) / 1_000_000,
    ),
]
each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.package)


@pytest.mark.real
def test_from_the_clients_to_a_real_prometheus_each_cent_is_there(tmp_path: Path) -> None:
    """What two tools spend by two ways of asking is the same by hand, here and in the store."""
    times = {"search": 3, "draft": 2}

    async def main(api: ModelApi) -> None:
        for client in CLIENTS:
            api.says(Answer(client.answer(1000)))
            for is_async in (False, True):
                asked = client.opened(api.url, is_async)
                for tool, count in times.items():
                    for _ in range(count):
                        with metertap.measure_tool(tool):
                            answer = client.ask(asked)
                            if is_async:
                                await answer
                closed = getattr(asked, "aclose", None) or asked.close
                if (done := closed()) is not None:
                    await done

    with ModelApi().serving() as api, metertap.instrument(prometheus=True) as tap:
        asyncio.run(main(api))
        endpoint = wait_for(lambda: tap.prometheus_url)
        found: Any = metertap.get_all_metrics()["cost_metrics"]
        by_hand = {
            (tool, client.provider): 2 * count * client.each
            for tool, count in times.items()
            for client in CLIENTS
        }
        assert {(item["tool"], item["provider"]): item["spent"] for item in found["models"]} == {
            key: float(usd) for key, usd in by_hand.items()
        }
        assert found["spent"] == float(sum(by_hand.values()))
        with prometheus(tmp_path / "prometheus", endpoint) as store:

            def stored(what: str) -> dict[tuple[str, str], float]:
                labels = ("gen_ai_tool_name", "gen_ai_provider_name")
                asked = f'sum by ({",".join(labels)}) ({{__name__=~"{what}"}})'
                values = store.query(asked)
                return {
                    (dict(key)[labels[0]], dict(key)[labels[1]]): value
                    for key, value in values.items()
                    if labels[0] in dict(key)
                }

            usd = wait_for(lambda: stored("metertap_tool_cost.*_total"))
            assert usd == pytest.approx({key: float(usd) for key, usd in by_hand.items()}, abs=1e-9)
            tokens = wait_for(lambda: stored("gen_ai_client_token_usage.*_sum"))
            assert tokens == {
                (tool, provider): 2 * 1300 * times[tool] for tool, provider in by_hand
            }


@asynccontextmanager
async def answering(client: Client, calls: int) -> AsyncIterator[str]:
    """A server in this event loop that answers nobody before so many have asked.

    Each answer says that the input took as many tokens as stand in the request's header.
    """
    waiting: list[asyncio.StreamWriter] = []
    everybody = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            taken = int(re.findall(rb"took (\d+)", body)[0])
            waiting.append(writer)
            if len(waiting) == calls:
                everybody.set()
            await everybody.wait()
            said = json.dumps(client.answer(taken)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                + f"Content-Length: {len(said)}\r\n\r\n".encode()
                + said
            )
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=calls)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@each_client
def test_tools_at_once_get_their_own_usage(client: Client) -> None:
    """All have asked before the first is answered."""
    tools = TOOLS[client.package]
    asks: dict[str, Callable[[Any, str], Awaitable[Any]]] = {
        "openai": lambda found, text: found.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": text}]
        ),
        "anthropic": lambda found, text: found.messages.create(
            model="claude", max_tokens=9, messages=[{"role": "user", "content": text}]
        ),
        "google": lambda found, text: found.models.generate_content(model="gemini", contents=text),
    }

    async def main() -> None:
        async with answering(client, tools) as url:
            asked = client.opened(url, True)

            async def use(number: int) -> None:
                with metertap.measure_tool(f"tool {number}"):
                    await asks[client.package](asked, f"took {1000 + number}")

            await asyncio.gather(*map(use, range(tools)))
            await (asked.aclose if hasattr(asked, "aclose") else asked.close)()

    with metertap.instrument(json_endpoint=False):
        asyncio.run(main())
        found: Any = metertap.get_all_metrics()["cost_metrics"]
    taken = {item["tool"]: (item["calls"], item["input_tokens"]) for item in found["models"]}
    assert taken == {f"tool {number}": (1, 1000 + number) for number in range(tools)}
