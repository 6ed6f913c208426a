"""Other instrumentations of openai's client: each call once, and no metric of theirs twice."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue
from servers.model_api import Answer, ModelApi
from support.metric_data import points

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.library("openai")

MODEL = "gpt-4o-mini"
ASKED: Any = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
USAGE = {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500}
BODY = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
    ],
    "usage": USAGE,
}
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
EVENTS = [
    {**CHUNK, "choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]},
    {**CHUNK, "choices": [], "usage": USAGE},
    "[DONE]",
]


@pytest.fixture
def api() -> Iterator[ModelApi]:
    with ModelApi().serving() as api:
        yield api


def use(api: ModelApi) -> None:
    """Ask three times: whole, async, and streamed."""
    api.says(Answer(BODY))
    with openai.OpenAI(api_key="key", base_url=f"{api.url}/v1") as client:
        assert client.chat.completions.create(**ASKED).choices[0].message.content == "yes"
        api.says(Answer(events=EVENTS))
        options = {"include_usage": True}
        stream = client.chat.completions.create(**ASKED, stream=True, stream_options=options)
        assert len(list(stream)) == 2
    api.says(Answer(BODY))

    async def main() -> None:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{api.url}/v1") as client:
            await client.chat.completions.create(**ASKED)

    asyncio.run(main())


def counted() -> list[tuple[str, int, int, int]]:
    found: Any = metertap.get_all_metrics()["cost_metrics"]
    return [
        (item["model"], item["calls"], item["input_tokens"], item["output_tokens"])
        for item in found["models"]
    ]


@contextmanager
def instrumentor(module: str, provider: MeterProvider) -> Iterator[None]:
    """One that has a class as OpenTelemetry's instrumentations have it."""
    made = pytest.importorskip(module).OpenAIInstrumentor()
    made.instrument(meter_provider=provider)
    try:
        yield
    finally:
        made.uninstrument()


@contextmanager
def logfire(_module: str, _provider: MeterProvider) -> Iterator[None]:
    found = pytest.importorskip("logfire")
    found.configure(send_to_logfire=False, console=False, metrics=False)
    with found.instrument_openai():
        yield


Others = Callable[[str, MeterProvider], Any]
OTHERS = [
    pytest.param(instrumentor, "opentelemetry.instrumentation.openai_v2", id="openai-v2"),
    pytest.param(instrumentor, "opentelemetry.instrumentation.openai", id="traceloop"),
    pytest.param(instrumentor, "openinference.instrumentation.openai", id="openinference"),
    pytest.param(logfire, "logfire", id="logfire"),
]


@pytest.mark.parametrize("first", ["metertap", "other"])
@pytest.mark.parametrize(("other", "module"), OTHERS)
def test_each_call_is_counted_once_and_each_metric_recorded_once(
    other: Others, module: str, first: str, api: ModelApi
) -> None:
    pytest.importorskip(module)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])

    def recorded() -> int:
        return sum(round(point.sum) for point in points(reader, catalogue.TOKEN_USAGE.name))

    with (
        (
            metertap.instrument(json_endpoint=False, meter_provider=provider)
            if first == "metertap"
            else other(module, provider)
        ),
        (
            other(module, provider)
            if first == "metertap"
            else metertap.instrument(json_endpoint=False, meter_provider=provider)
        ),
    ):
        use(api)
        use(api)
        assert counted() == [(MODEL, 6, 7200, 1800)]
        assert metertap.instrument().diagnosis()["faults"] == {}
        assert sum(point.count for point in points(reader, catalogue.MODEL_DURATION.name)) == 6
        assert recorded() <= 6 * 1500  # some do not see what a stream took


@pytest.mark.parametrize("first", ["metertap", "other"])
def test_what_was_left_to_another_is_recorded_once_that_is_switched_off(
    first: str, api: ModelApi
) -> None:
    openai_v2 = pytest.importorskip("opentelemetry.instrumentation.openai_v2")
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    other = openai_v2.OpenAIInstrumentor()

    def recorded() -> dict[str, int]:
        data = reader.get_metrics_data()
        return {
            scope.scope.name: sum(point.count for point in metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == catalogue.MODEL_DURATION.name
        }

    def said() -> str:
        return str(metertap.instrument().diagnosis())

    if first == "other":
        other.instrument(meter_provider=provider)
    with metertap.instrument(json_endpoint=False, meter_provider=provider):
        if first == "metertap":
            other.instrument(meter_provider=provider)
        use(api)
        assert recorded() == {openai_v2.__name__: 3}
        assert "are left to it" in said()
        other.uninstrument()
        use(api)
        assert recorded() == {openai_v2.__name__: 3, catalogue.SCOPE: 3}
        assert "are left to it" not in said()
        other.instrument(meter_provider=provider)
        use(api)
        assert recorded() == {openai_v2.__name__: 6, catalogue.SCOPE: 3}
        other.uninstrument()
        assert counted() == [(MODEL, 9, 10800, 2700)]


def test_a_client_that_is_mocked_is_no_call_and_harms_nobody(api: ModelApi) -> None:
    with metertap.instrument(json_endpoint=False):
        client = openai.OpenAI(api_key="key", base_url=f"{api.url}/v1")
        answer = importlib.import_module("types").SimpleNamespace(choices=["mocked"])
        with mock.patch.object(client.chat.completions, "create", return_value=answer):
            assert client.chat.completions.create(**ASKED).choices == ["mocked"]
        assert metertap.get_all_metrics()["cost_metrics"] is None
        with mock.patch.object(type(client), "request", return_value=mock.MagicMock()):
            client.chat.completions.create(**ASKED)
        with mock.patch("openai.OpenAI") as made:
            made().chat.completions.create(**ASKED)
        assert metertap.instrument().diagnosis()["faults"] == {}
        use(api)
        assert counted() == [(MODEL, 3, 3600, 900)]


@pytest.mark.parametrize("found_in", ["nobody's", "an earlier one of ours"])
def test_another_that_puts_back_what_it_found_hides_no_call(api: ModelApi, found_in: str) -> None:
    kinds = (openai.OpenAI, openai.AsyncOpenAI)
    for kind in kinds:
        if "request" in vars(kind):  # what a real one of an earlier test has put back
            del kind.request
    bare = found = [kind.request for kind in kinds]  # inherited, before metertap wraps it
    if found_in != "nobody's":
        with metertap.instrument(json_endpoint=False):
            found = [kind.request for kind in kinds]
        assert found != bare
    try:
        with metertap.instrument(json_endpoint=False):
            for kind, before in zip(kinds, found, strict=True):
                kind.request = before  # as some instrumentations do to uninstrument
            metertap.get_all_metrics()
            use(api)
            assert counted() == [(MODEL, 3, 3600, 900)]
        assert [kind.request for kind in kinds] == found
    finally:
        for kind in kinds:
            if "request" in vars(kind):
                del kind.request
