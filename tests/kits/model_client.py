"""A client of models, asked over HTTP: how, what the provider answers, and what is right.

The answers come from a server on this machine, through the real client.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import certifi
import pytest

import metertap
from metertap import state
from servers.model_api import Answer, ModelApi

SECRET = "sk-marker-4711"
PRICES = """
[tool.metertap.prices]
test-model = { input = 3, cached = 0.3, cache_write = 3.75, output = 15 }
"""
MODEL = "test-model"

both = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


class ModelClient:
    """`ask` and `stream` use a client; the rest says what the server answers and what is right."""

    provider: str
    instrumentation: Any
    modules: tuple[str, ...] = ()
    counts: ClassVar[dict[str, int]]
    """Tokens of each answer by the document's names."""
    cut_counts: ClassVar[dict[str, int]]
    """Tokens that a stream has reported when it is cut off."""
    retries = True
    """Whether the client tries again what failed."""
    asks_when_read = False
    """Whether a stream may be asked for when it is first read."""
    can_close = True
    """Whether a stream can be closed by the program."""
    estimates = False
    """Whether the client itself estimates what a stream used that does not say so."""
    walks = True
    """Whether each function of ours is made to fail: not for what passes no other functions."""
    usage_at: ClassVar[tuple[str, str]] = ("usage", "")
    """Where the answer has its usage, and in that a count."""

    def client(self, url: str, *, is_async: bool) -> Any:
        raise NotImplementedError

    def ask(self, client: Any, text: str) -> Any:
        """Ask for a whole answer; awaited where the client is async."""
        raise NotImplementedError

    def stream(self, client: Any, text: str) -> Any:
        """Ask for a stream; awaited where the client is async."""
        raise NotImplementedError

    def answer(self) -> Any:
        """The body of a whole answer."""
        raise NotImplementedError

    def events(self) -> list[Any]:
        """The events of a streamed answer."""
        raise NotImplementedError

    def cut_events(self) -> list[Any]:
        """The events that come before the stream is cut off."""
        return self.events()[:1]

    def error(self) -> Any:
        """The body of an answer that is an error."""
        return {"error": {"message": "no", "type": "bad"}}

    def said(self, answers: Any) -> str:
        """Answers, or items of streams, without what differs from one time to the next."""
        return repr(answers)

    # What the tests use

    @pytest.fixture(autouse=True)
    def api(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelApi]:
        for name in self.modules:  # before anything is patched, whichever test is the first
            importlib.import_module(name)
        (tmp_path / "metertap.toml").write_text(PRICES)
        monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
        # Nothing here is encrypted, and to read every authority there is takes a client long.
        whole = Path(certifi.where()).read_text(encoding="utf-8")
        first = whole[whole.index("-----BEGIN") : whole.index("-----END CERTIFICATE-----") + 26]
        (tmp_path / "one.pem").write_text(first)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one.pem"))
        with ModelApi().serving() as api:
            api.says(Answer(self.answer()))
            yield api

    @pytest.fixture(autouse=True)
    def measured(self, api: ModelApi) -> Iterator[metertap.Tap]:
        with metertap.instrument(json_endpoint=False) as tap:
            yield tap

    def run(self, api: ModelApi, *, is_async: bool, streamed: bool = False, times: int = 1) -> Any:
        """The answers, or for streams their items."""

        async def main() -> list[Any]:
            async with self.opened(api, is_async=is_async) as client:
                answers = []
                for _ in range(times):
                    answer = (self.stream if streamed else self.ask)(client, SECRET)
                    answer = await answer if is_async else answer
                    if streamed and is_async:
                        answer = [item async for item in answer]
                    answers.append(list(answer) if streamed else answer)
                return answers

        return asyncio.run(main())

    @contextlib.asynccontextmanager
    async def opened(self, api: ModelApi, *, is_async: bool) -> AsyncIterator[Any]:
        """A client that is closed at the end."""
        client = self.client(api.url, is_async=is_async)
        try:
            yield client
        finally:
            await self.closed(client)

    async def closed(self, opened: Any) -> None:
        """Close a client, or a stream half-read."""
        done = (opened.aclose if hasattr(opened, "aclose") else opened.close)()
        if done is not None:
            await done

    def models(self) -> list[dict[str, Any]]:
        found: Any = metertap.get_all_metrics()["cost_metrics"]
        return [] if found is None else list(found["models"])

    def only(self) -> dict[str, Any]:
        (found,) = self.models()
        assert (found["provider"], found["model"]) == (self.provider, MODEL)
        return found

    def cost(self, counts: dict[str, int]) -> Decimal:
        """By hand, at the prices above, in USD."""
        cached, written = counts.get("cached_tokens", 0), counts.get("cache_write_tokens", 0)
        plain = counts["input_tokens"] - cached - written
        sums = 3 * plain + Decimal("0.3") * cached + Decimal("3.75") * written
        return (sums + 15 * counts["output_tokens"]) / 1_000_000

    def check(self, counts: dict[str, int], times: int = 1) -> None:
        found = self.only()
        assert found["calls"] == times
        assert {name: found[name] for name in counts} == {
            name: times * count for name, count in counts.items()
        }
        (series,) = state.recorder().usage_figures()
        assert series.cost == times * self.cost(counts)
