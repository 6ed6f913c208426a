"""Faults of our own while repeated requests and keys, and heavy results, are looked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from faults.test_rooms import CONFIGURED, lost, with_each_fault
from metertap import faults
from servers.model_api import Answer, ModelApi
from support import breaking
from support.checked import differences

pytestmark = pytest.mark.programs
cachetools = pytest.importorskip("cachetools")
openai = pytest.importorskip("openai")
tools = pytest.importorskip("langchain_core.tools")

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "house-model",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
    ],
    "usage": {"prompt_tokens": 900, "completion_tokens": 10, "total_tokens": 910},
}
PRICES = CONFIGURED.replace('prices."house-model"', 'prices."openai/house-model"')
KEYS = [*range(9), *range(9)]
"""More than there is room for, again and again."""


@pytest.fixture
def tap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[metertap.Tap]:
    (tmp_path / "metertap.toml").write_text(PRICES)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    with metertap.instrument(service_name="shop", cost_repeats=True, context_window=1000) as tap:
        yield tap


@pytest.fixture
def client() -> Iterator[Any]:
    """A client of a provider of models on this machine."""
    with ModelApi().serving() as api, openai.OpenAI(api_key="-", base_url=api.url) as client:
        api.says(Answer(body=ANSWER))
        yield client


@pytest.mark.faults
def test_a_fault_anywhere_in_ours_while_repeats_and_weights_are_looked_for_reaches_no_call(
    tap: metertap.Tap, client: Any
) -> None:
    wrong: list[str] = []
    cache: Any = cachetools.LRUCache(2)
    metertap.name_cache(cache, "answers")

    @tools.tool
    def ask(text: str) -> Any:
        """Ask what was asked in the use before, and answer at length."""
        answer = client.chat.completions.create(
            model="house-model", messages=[{"role": "user", "content": text}]
        )
        assert answer.usage.prompt_tokens == 900
        return "ä" * 500 if text == "text" else {"found": [text] * 50}

    @metertap.tool
    def look_up() -> None:
        """Look for more keys than there is room for."""
        for key in KEYS:
            if cache.get(key) is None:
                cache[key] = key

    def use() -> Any:
        look_up()
        assert ask.invoke({"text": "text"}) == "ä" * 500
        assert ask.invoke({"text": "structure"}) == {"found": ["structure"] * 50}
        return tap.snapshot()

    use()
    whole: Any = use()
    advice = {item["kind"] for item in whole["cost_metrics"]["recommendations"]}
    assert {"cache_repeats", "cache_too_small", "heavy_results"} <= advice
    passed = set()
    for name, document in with_each_fault(use, wrong):
        passed.add(name.partition(":")[0])
        wrong += [f"{name}: {said}" for said in differences(document)]
        if breaking.reached and not faults.fault_counts():
            wrong.append(f"{name}: was told to nobody")
        before = use()
        after = use()
        calls = [it["tool_metrics"]["ask"]["total_calls"] for it in (before, after)]
        if calls[1] - calls[0] != 2 or lost(after, whole):
            wrong.append(f"{name}: afterwards {calls}, without {lost(after, whole)}")
    assert not wrong, "\n".join(wrong)
    assert {"repeats.py", "reuse.py", "advice.py", "recommendations.py", "results.py"} <= passed
