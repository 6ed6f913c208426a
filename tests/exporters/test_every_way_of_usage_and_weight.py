"""However usage of a model or the weight of a tool is recorded: all three views say the same.

Each way asks a model three times, or returns three results of four bytes. Tokens, money and bytes
are known exactly, so that a wrong unit and a double count show.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import catalogue
from servers.model_api import Answer, ModelApi
from support.every_view import Publish, Published, points, publishing
from support.exposition import key

TIMES = 3
INPUT, OUTPUT, SECONDS = 1000, 500, 0.25
USD = (INPUT * 2.5 + OUTPUT * 10) / 1_000_000
PRICES = '[tool.metertap.prices]\n"openai/gpt" = { input = 2.5, output = 10 }\n'
USAGE = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
RESULT = "done"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    (tmp_path / "metertap.toml").write_text(PRICES)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    with publishing(monkeypatch) as after:
        yield after
    kept.clear()


# Usage of models. Each way asks `gpt` three times for the tool `work`.


def record() -> None:
    metertap.record_usage(
        provider="openai", model="gpt", input_tokens=INPUT, output_tokens=OUTPUT, seconds=SECONDS
    )


def usage_by_hand_in_a_block() -> None:
    for _ in range(TIMES):
        with metertap.measure_tool("work"):
            record()


def usage_by_hand_in_a_coroutine() -> None:
    @metertap.tool
    async def work() -> None:
        record()

    async def use() -> None:
        await asyncio.gather(*(work() for _ in range(TIMES)))

    asyncio.run(use())


def usage_by_hand_in_a_failing_call() -> None:
    @metertap.tool
    def work() -> None:
        record()
        raise KeyError

    for _ in range(TIMES):
        with contextlib.suppress(KeyError):
            work()


def usage_after_a_miss() -> None:
    for _ in range(TIMES):
        with metertap.measure_tool("work"):
            metertap.record_cache_miss("prompts")
            record()


def usage_of_a_client() -> None:
    openai = pytest.importorskip("openai")
    said: Any = [{"role": "user", "content": "hello"}]
    answer = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}],
        "usage": USAGE,
    }
    with ModelApi().serving() as api:
        api.says(Answer(answer))
        with openai.OpenAI(api_key="key", base_url=f"{api.url}/v1", timeout=60) as client:
            for _ in range(TIMES):
                with metertap.measure_tool("work"):
                    client.chat.completions.create(model="gpt", messages=said)


USAGES = [
    usage_by_hand_in_a_block,
    usage_by_hand_in_a_coroutine,
    usage_by_hand_in_a_failing_call,
    usage_after_a_miss,
    usage_of_a_client,
]


def histogram_is(
    found: Published, metric: str, unit: str, shown: str, total: float, **labels: str
) -> None:
    """Compare the OTLP data point and the Prometheus text (`shown`) of three values."""
    [point] = points(found.otlp, metric, unit, **labels)
    assert (point.count, point.sum) == (TIMES, pytest.approx(total))
    assert (point.min, point.max) == (pytest.approx(total / TIMES), pytest.approx(total / TIMES))
    [of_scrape] = [
        labelled
        for name, labelled in found.scrape
        if name == f"{shown}_count" and labels.items() <= dict(labelled).items()
    ]
    assert found.scrape[f"{shown}_count", of_scrape] == TIMES
    assert found.scrape[f"{shown}_sum", of_scrape] == pytest.approx(total)


@pytest.mark.parametrize("way", USAGES, ids=lambda way: str(way.__name__))
def test_usage_is_the_same_in_every_view(way: Callable[[], None], published: Publish) -> None:
    found = published(way)
    [entry] = found.document["cost_metrics"]["models"]
    assert (entry["tool"], entry["model"], entry["calls"]) == ("work", "gpt", TIMES)
    assert (entry["input_tokens"], entry["output_tokens"]) == (TIMES * INPUT, TIMES * OUTPUT)
    labels = {"gen_ai_tool_name": "work", "gen_ai_response_model": "gpt"}
    for kind, tokens in (("input", INPUT), ("output", OUTPUT)):
        of_kind = {**labels, "gen_ai_token_type": kind}
        metric = catalogue.TOKEN_USAGE.name
        histogram_is(found, metric, "{token}", metric.replace(".", "_"), TIMES * tokens, **of_kind)
    if way is not usage_of_a_client:
        metric = catalogue.MODEL_DURATION.name
        shown = metric.replace(".", "_") + "_seconds"
        histogram_is(found, metric, "s", shown, TIMES * SECONDS, **labels)
        assert entry["seconds"] == TIMES * SECONDS
    else:
        [point] = points(found.otlp, catalogue.MODEL_DURATION.name, "s", **labels)
        assert point.sum == pytest.approx(entry["seconds"])
        assert 0 < point.sum <= found.most
    labels["gen_ai_provider_name"] = "openai"
    total = found.document["cost_metrics"]["tools"]["work"]
    assert entry["spent"] == total["spent"] == pytest.approx(TIMES * USD)
    failed = TIMES * USD if way is usage_by_hand_in_a_failing_call else 0
    assert entry["spent_on_failures"] == total["spent_on_failures"] == pytest.approx(failed)
    for counter, usd in (
        (catalogue.TOOL_COST, TIMES * USD),
        (catalogue.TOOL_FAILED_COST, failed),
        (catalogue.TOOL_MISS_COST, TIMES * USD if way is usage_after_a_miss else 0),
    ):
        [point] = points(found.otlp, counter.name, "{USD}", **labels)
        assert point.as_double == pytest.approx(usd)
        shown = counter.name.replace(".", "_") + "_total"
        assert found.scrape[key(shown, **labels)] == pytest.approx(usd)
    for part in ("hit", "miss"):
        lookups = {"gen_ai_tool_name": "work", "cache_request_type": part}
        if way is usage_after_a_miss:
            [point] = points(found.otlp, catalogue.TOOL_LOOKUP_CALLS.name, "{call}", **lookups)
            assert point.as_double == (TIMES if part == "miss" else 0)
            shown = key("metertap_tool_lookup_time_seconds_total", **lookups)
            [point] = points(found.otlp, catalogue.TOOL_LOOKUP_TIME.name, "s", **lookups)
            assert point.as_double == found.scrape[shown]
            assert (found.scrape[shown] > 0) is (part == "miss")


# Weights of tools. Each way returns a text of four bytes three times from the tool `work`.

kept: list[Any] = []
"""A framework's tool: its definition is measured when figures are read, if it is still there."""


def weight_of_an_mcp_server() -> None:
    from servers.mcp_stacks import stacks

    stack = next(stack for stack in stacks() if stack.empty is not None)
    assert stack.empty is not None
    server = stack.empty("shop")

    async def work() -> str:
        """Work."""
        return RESULT

    server.tool()(work)

    async def use() -> None:
        async with stack.connect(server) as session:
            await session.list_tools()
            for _ in range(TIMES):
                await session.call_tool("work", {})

    asyncio.run(use())


def weight_in_a_framework() -> None:
    tools = pytest.importorskip("langchain_core.tools")

    @tools.tool  # type: ignore[untyped-decorator]
    def work(item: int) -> str:
        """Work."""
        return RESULT

    kept.append(work)
    for _ in range(TIMES):
        work.invoke({"item": 1})


@pytest.mark.parametrize(
    ("way", "side"),
    [
        (weight_of_an_mcp_server, catalogue.SERVER),
        (weight_of_an_mcp_server, catalogue.CLIENT),
        (weight_in_a_framework, catalogue.SERVER),
    ],
    ids=["server", "client", "framework"],
)
def test_a_weight_has_the_same_bytes_in_every_view(
    way: Callable[[], None], side: str, published: Publish
) -> None:
    if way is weight_of_an_mcp_server:
        pytest.importorskip("mcp")
    found = published(way)
    [entry] = [
        tool for tool in found.document["weight_metrics"]["tools"].values() if tool["side"] == side
    ]
    results, definition = entry["results"], entry["definition"]
    total = TIMES * len(RESULT)
    assert (results["weighed"], results["total_bytes"]) == (TIMES, total)
    assert results["p50_bytes"] == results["max_bytes"] == results["avg_bytes"] == len(RESULT)
    labels = {"gen_ai_tool_name": "work", "metertap_side": side}
    shown = catalogue.TOOL_RESULT_SIZE.name.replace(".", "_") + "_bytes"
    histogram_is(found, catalogue.TOOL_RESULT_SIZE.name, "By", shown, total, **labels)
    assert definition["description_bytes"] == len('"Work."')
    whole = 0.0
    metric = catalogue.TOOL_DEFINITION_SIZE.name
    for part in ("description", "schema", "other"):
        of_part = {**labels, "metertap_definition_part": part}
        [point] = points(found.otlp, metric, "By", **of_part)
        size = found.scrape[key(metric.replace(".", "_") + "_bytes", **of_part)]
        assert point.as_int == size == definition.get(f"{part}_bytes", size)
        whole += size
    assert whole == definition["bytes"]
