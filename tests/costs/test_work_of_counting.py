"""What counting a model call does on the caller's path, by the functions of ours that it calls."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import metertap
import metertap_instrumentation
from servers.model_api import Answer, ModelApi

openai = pytest.importorskip("openai")

OURS = tuple(str(Path(module.__file__).parent) for module in (metertap, metertap_instrumentation))
ASKED: Any = {"model": "gpt", "messages": [{"role": "user", "content": "hello"}]}
BODY = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
}


@pytest.fixture
def client() -> Iterator[Any]:
    with ModelApi().serving() as api:
        api.says(Answer(BODY))
        with openai.OpenAI(api_key="key", base_url=f"{api.url}/v1", timeout=600) as client:
            yield client


def calls_of_ours(client: Any) -> int:
    """Functions of ours that one call of a model calls in this thread."""
    found: list[str] = []

    def see(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            found.append(frame.f_code.co_qualname if sys.version_info >= (3, 11) else "")

    for _ in range(3):  # the first calls make series
        client.chat.completions.create(**ASKED)
    before = sys.getprofile()
    sys.setprofile(see)
    try:
        client.chat.completions.create(**ASKED)
    finally:
        sys.setprofile(before)
    return len(found)


def test_to_count_a_model_call_takes_some_dozens_of_functions(client: Any) -> None:
    with metertap.instrument(json_endpoint=False), metertap.measure_tool("asks"):
        # `python -m benchmarks model_calls` tells how long they take.
        found = calls_of_ours(client)
        assert 20 < found < 50, found


def test_where_measuring_is_switched_off_nothing_of_ours_is_called(client: Any) -> None:
    with metertap.instrument(enabled=False):
        assert calls_of_ours(client) == 0
    assert calls_of_ours(client) == 0
