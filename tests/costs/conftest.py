"""A real client of a model, and the server that answers it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from servers.model_api import Answer, ModelApi


class Asking:
    """openai's client, which asks a server on this machine the same each time."""

    def __init__(self, api: ModelApi, client: Any) -> None:
        self._api = api
        self._client = client
        self.answers()

    def answers(self, **more: Any) -> None:
        """Answer from now on with a usage of ten, four of them cached, and three tokens."""
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 4},
            **more,
        }
        said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt"}
        self._api.says(Answer({**body, "choices": [said], "usage": usage}))

    def streams(self, items: int) -> None:
        """Answer from now on with a stream of so many items, and one with a usage of ten."""
        item = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt"}
        said = {**item, "choices": [{"index": 0, "delta": {"content": "yes"}}]}
        usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
        last = {**item, "choices": [], "usage": usage}
        self._api.says(Answer(events=[*[said] * items, last, "[DONE]"]))

    def __call__(self, **more: Any) -> Any:
        messages = [{"role": "user", "content": "hello"}]
        return self._client.chat.completions.create(model="gpt", messages=messages, **more)


@pytest.fixture
def ask() -> Iterator[Asking]:
    openai = pytest.importorskip("openai")
    with (
        ModelApi().serving() as api,
        openai.OpenAI(api_key="key", base_url=f"{api.url}/v1", timeout=600) as client,
    ):
        yield Asking(api, client)
