"""What one model call says of itself: the usage that counts, and how it is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue, state
from metertap.costs import ledger, model_calls, points
from metertap.costs.usage import Unusable, Usage
from metertap.labels import as_label
from metertap_instrumentation.models import layers
from support.metric_data import points as points_of
from support.warned import warnings_of

FIVE = Usage(5)


def begun() -> model_calls.ModelCall:
    call = model_calls.begin("openai", model_calls.CHAT, "own")
    assert call is not None
    return call


def refuse(*_found: Any) -> Usage:
    raise Unusable("more than the whole")


def test_a_part_of_a_stream_without_a_usage_leaves_that_of_the_parts_before() -> None:
    call = begun()
    model_calls.report(call, lambda: FIVE)
    model_calls.report(call, lambda: None)
    assert call.usage == FIVE


def test_after_a_usage_that_cannot_be_the_call_has_none(caplog: pytest.LogCaptureFixture) -> None:
    call = begun()
    model_calls.report(call, lambda: FIVE)
    model_calls.report(call, refuse)
    assert call.usage is None
    assert warnings_of(caplog) == [
        "a usage that openai reports cannot be used (more than the whole); such calls count "
        "without tokens"
    ]


@pytest.mark.parametrize("usage", [{1: 2}, {"more": {None: 1}}])
def test_a_usage_with_names_that_are_no_texts_is_read_at_once(usage: dict[Any, Any]) -> None:
    call = begun()
    model_calls.report_copy(call, lambda _found: FIVE, usage)
    assert call.reported is None
    assert call.usage == FIVE


def test_a_usage_is_read_once_and_when_somebody_looks() -> None:
    read: list[dict[str, Any]] = []

    def reading(**found: Any) -> Usage:
        read.append(found)
        return FIVE

    call = begun()
    model_calls.report_copy(call, lambda found: reading(**found), {"input": 5})
    assert read == []
    for _ in range(2):
        call.settle()
    assert (read, call.usage) == ([{"input": 5}], FIVE)


def attributes(reader: InMemoryMetricReader, metric: catalogue.Metric) -> list[dict[str, Any]]:
    """Attributes of each series, without those that all calls here share; and the sums."""
    shared = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
    found = []
    for point in points_of(reader, metric.name):
        own = dict(point.attributes)
        assert {name: own.pop(name, None) for name in shared} == shared
        found.append({**own, "sum": point.sum, "count": point.count})
    return sorted(
        found, key=lambda own: (own.get("gen_ai.token.type", ""), "gen_ai.tool.name" in own)
    )


def test_a_call_is_recorded_by_what_it_was_and_how_it_ended() -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([reader])):
        for _ in range(2):
            metertap.record_usage(
                provider="openai", model="own", input_tokens=5, output_tokens=3, seconds=2.0
            )
        with metertap.measure_tool("search"):
            metertap.record_usage(provider="openai", model="own", input_tokens=7)
            failed = model_calls.begin("openai", "chat", "own", server=("example.org", 443))
            assert failed is not None
            failed.seconds = 4.5
            failed.end(ValueError())
        named = {"gen_ai.request.model": "own", "gen_ai.response.model": "own"}
        in_tool = {"gen_ai.request.model": "own", "gen_ai.tool.name": "search"}
        assert attributes(reader, catalogue.MODEL_DURATION) == [
            {**named, "sum": 4.0, "count": 2},
            {
                **in_tool,
                "server.address": "example.org",
                "server.port": 443,
                "error.type": "ValueError",
                "sum": 4.5,
                "count": 1,
            },
        ]
        assert attributes(reader, catalogue.TOKEN_USAGE) == [
            {**named, "gen_ai.token.type": "input", "sum": 10, "count": 2},
            {**named, **in_tool, "gen_ai.token.type": "input", "sum": 7, "count": 1},
            {**named, "gen_ai.token.type": "output", "sum": 6, "count": 2},
        ]


def test_a_call_waits_once_its_every_series_has_begun() -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([reader])):
        for given, waits in (
            ({}, False),  # the series of tokens begins
            ({}, True),  # a call without a duration needs none of durations
            ({"seconds": 1.0}, False),  # and one that has begins it
            ({"seconds": 1.0}, True),
        ):
            metertap.record_usage(provider="x", model="m", input_tokens=1, **given)
            assert bool(ledger._unrecorded) is waits, given
        state.recorder().fold()
        assert not ledger._unrecorded
        assert sum(point.count for point in points_of(reader, catalogue.TOKEN_USAGE.name)) == 4


def test_a_call_of_which_nothing_is_known_waits_once_its_duration_has_begun() -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([reader])):
        for waits in (False, True):
            begun().end()
            assert bool(ledger._unrecorded) is waits
        known = begun()
        model_calls.report(known, lambda: FIVE)
        known.end()
        assert not ledger._unrecorded  # the series of its tokens begins


def test_more_models_than_are_kept_are_recorded_all_the_same() -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(
        json_endpoint=False, meter_provider=MeterProvider([reader]), series_limit=5000
    ):
        points._known.clear()
        for number in range(points._MOST + 1):
            metertap.record_usage(provider="x", model=f"m{number}", input_tokens=1)
        ledger.record()
        assert len(points._known) == 1
        assert sum(point.count for point in points_of(reader, catalogue.TOKEN_USAGE.name)) == (
            points._MOST + 1
        )
        assert len(state.recorder().usage_figures()) == points._MOST + 1


def test_the_first_call_after_somebody_has_looked_is_told_to_who_waits_for_records() -> None:
    recorder, told = state.recorder(), list[str]()

    def hear() -> None:
        told.append("record")

    with metertap.instrument(json_endpoint=False):
        for _ in range(2):
            metertap.record_usage(provider="x", model="m", input_tokens=1)
        assert recorder.usage_figures()
        recorder.on_record(hear)
        for _ in range(2):
            metertap.record_usage(provider="x", model="m", input_tokens=1)
        assert (len(ledger._unrecorded), told) == (2, ["record"])
        ledger.record()
        recorder.forget_record_callback(hear)
    assert told == ["record"] * 2


def test_the_time_of_calls_after_a_miss_is_told_apart() -> None:
    with metertap.instrument(json_endpoint=False):
        prompts = metertap.cache_meter("prompts")
        with metertap.measure_tool("search"):
            metertap.record_usage(provider="x", model="m", input_tokens=1, seconds=1.0)
            prompts.miss()
            metertap.record_usage(provider="x", model="m", input_tokens=1, seconds=2.0)
            metertap.record_usage(provider="x", model="m", input_tokens=1)
        (series,) = state.recorder().usage_figures()
    assert (series.seconds, series.seconds_after_miss) == (3.0, 2.0)


def test_a_call_that_failed_is_not_blamed_for_saying_no_usage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with metertap.instrument(json_endpoint=False):
        begun().end(ValueError())
        (series,) = state.recorder().usage_figures()
        assert (series.calls, series.failed, series.unreported) == (1, 1, 1)
        assert warnings_of(caplog) == []
        begun().end()
        assert state.recorder().usage_figures()
        (warning,) = warnings_of(caplog)
    assert "did not say how many tokens" in warning


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        ((), 1.0),
        (("stop_clock",), 1.0),  # what is read after that is not the model's time
        (("stop_clock", "start_clock"), 3.0),  # a stream, until its end
    ],
)
def test_a_call_takes_until_its_answer_or_the_end_of_its_stream(
    steps: tuple[str, ...], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metertap.instrument(json_endpoint=False):
        call = begun()
        later = iter((call.started + 1.0, call.started + 3.0))
        monkeypatch.setattr(model_calls, "clock", lambda: next(later))
        for step in steps:
            getattr(call, step)()
        call.end()
        (series,) = state.recorder().usage_figures()
    assert series.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("answered", "counted"),
    [("", "own"), ("own", "own"), ("own-2024", "own-2024"), ("x" * 300, as_label("x" * 300))],
)
def test_a_call_is_of_the_model_that_answered_as_a_label(answered: str, counted: str) -> None:
    with metertap.instrument(json_endpoint=False):
        call = begun()
        call.model = answered
        call.end()
        (series,) = state.recorder().usage_figures()
    assert series.model == counted
    assert len(counted) < 300


def test_a_call_that_failed_says_by_what() -> None:
    with metertap.instrument(json_endpoint=False):
        calls = begun(), begun()
        calls[0].end(ValueError())
        calls[1].end()
    assert [call.error_type for call in calls] == ["ValueError", None]


def test_only_what_is_asked_again_after_a_failure_is_a_retry() -> None:
    with metertap.instrument(json_endpoint=False), metertap.measure_tool("search"):
        begun().end(ValueError())
        again, other = begun(), model_calls.begin("openai", model_calls.CHAT, "another")
        assert other is not None
        assert (again.is_retry, other.is_retry) == (True, False)


@pytest.mark.parametrize("counts", [True, False])
def test_a_client_counts_unless_the_layer_around_it_does(counts: bool) -> None:
    layer = model_calls.Outer(counts=counts)
    token = model_calls.outer.set(layer)
    try:
        call = model_calls.begin("openai", model_calls.CHAT, "own")
    finally:
        model_calls.outer.reset(token)
    assert (call is None, layer.was_seen) == (counts, True)


def in_layer(function: Callable[[], Any], *, is_async: bool) -> Any:
    """Call `function` in a layer that counts, which is over afterwards."""

    class Layers:
        def begin(self, *_call: Any) -> Any:
            return (model_calls.Outer(counts=True),)

        def ended(self, *_call: Any) -> None: ...

        raised = ended

    if not is_async:
        return layers.plain(Layers())(function, None, (), {})

    async def asked() -> Any:
        return function()

    async def main() -> Any:
        return await layers.coroutine(Layers())(asked, None, (), {})

    return asyncio.run(main())


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_what_is_asked_later_by_work_that_a_call_began_counts(is_async: bool) -> None:
    def begin_work() -> Context:
        assert model_calls.begin("openai", model_calls.CHAT, "own") is None
        return copy_context()

    work = in_layer(begin_work, is_async=is_async)
    assert work.run(begun).requested == "own"
    # What that asks within a layer of its own is no business of the one that is over either.
    inner = work.run(lambda: model_calls.Outer(counts=False))
    assert (inner.within, work.run(model_calls.around)) == (None, None)


def test_layers_of_work_that_begins_work_are_not_kept() -> None:
    """Each is around the next one's beginning, and three of them are open at any time."""
    context, open_layers = copy_context(), []
    for _ in range(100):
        context = context.run(copy_context)
        layer = context.run(lambda: model_calls.Outer(counts=False))
        context.run(model_calls.outer.set, layer)
        open_layers.append(layer)
        if len(open_layers) > 3:
            open_layers.pop(0).is_over = True
    around, kept = context.run(model_calls.around), 0
    while around is not None:
        around, kept = around.within, kept + 1
    assert kept == 4  # the three, and the one that ended last


def test_equal_requests_are_no_repeats_where_nobody_looks_for_them() -> None:
    with metertap.instrument(json_endpoint=False):
        for request in ({"a": 1}, {"a": 1}, None, None):
            call = model_calls.begin("openai", model_calls.CHAT, "own", request=request)
            assert call is not None
            assert not call.is_repeat


@pytest.mark.parametrize("way", [model_calls.report, model_calls.report_copy])
@pytest.mark.parametrize("model", [7, "", None])
def test_what_is_no_name_of_a_model_leaves_the_one_before(way: Any, model: object) -> None:
    call = begun()
    call.model = "own-2024"
    way(call, lambda _found: FIVE, {"input": 5}, model=model)
    assert call.model == "own-2024"


@pytest.mark.parametrize("way", [model_calls.report, model_calls.report_copy])
@pytest.mark.parametrize("tier", ["flex", None, 7])
def test_the_tier_that_a_response_names_is_that_of_the_call(way: Any, tier: object) -> None:
    call = begun()
    way(call, lambda _found: FIVE, {"input": 5}, tier=tier)
    assert call.tier == (tier if tier == "flex" else "")
