"""Usage reported by hand: whose it is, what it costs to the cent, and what of it is believed."""

from __future__ import annotations

import asyncio
import decimal
import json
import math
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import state
from metertap.alerts import counters
from metertap.costs import ledger, model_calls
from metertap.costs.usage import Usage
from metertap.workers import merging
from support.checked import check
from support.waiting import wait_for
from support.warned import warnings_of

PRICES = """
[tool.metertap.prices]
"openai/own" = { input = 2.5, output = 10, cached = 1.25, cache_write = "3.125" }
plain = { input = 0.1 }
[tool.metertap.fees]
search = 0.005
"""
ALL_OF_IT = {
    "input_tokens": 1000,
    "output_tokens": 200,
    "cached_tokens": 400,
    "cache_write_tokens": 100,
}


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metertap.toml").write_text(PRICES)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))


def costs() -> dict[str, Any]:
    """The section of the document, after its schema found nothing wrong."""
    document = metertap.get_all_metrics()
    check(document)
    json.dumps(document, allow_nan=False)
    found: Any = document["cost_metrics"]
    return dict(found)


def record(**more: Any) -> None:
    given: dict[str, Any] = {"provider": "openai", "model": "own", **ALL_OF_IT, **more}
    metertap.record_usage(**given)


def exact_cost() -> Decimal:
    return sum((series.spent for series in state.recorder().usage_figures()), Decimal(0))


def test_without_usage_there_is_no_section() -> None:
    assert metertap.get_all_metrics()["cost_metrics"] is not None  # a tool has a fee
    with metertap.instrument(json_endpoint=False):
        state.recorder().configure(1000, 2000)
        assert metertap.get_all_metrics()["cost_metrics"] is None


def test_the_cost_is_that_of_a_calculation_by_hand() -> None:
    record()
    # 500 new, 400 cached, 100 written, 200 out
    expected = Decimal("2.5") * 500 + Decimal("1.25") * 400 + Decimal("3.125") * 100 + 10 * 200
    assert exact_cost() == expected / 1_000_000
    assert costs()["spent"] == float(expected / 1_000_000)


def test_calls_that_end_at_the_same_time_are_all_looked_at() -> None:
    record()
    (ended,) = ledger._ended
    metertap.reset()
    recorder = state.recorder()
    for callbacks in (recorder._usage_callbacks, recorder._look_callbacks):
        callbacks.clear()  # these are the first calls of the process
    recorder.has_usage = False
    ledger._ended.append(ended)  # another thread's, which has not gone on yet
    record()
    assert [series.calls for series in state.recorder().usage_figures()] == [2]


def test_a_million_small_costs_add_up_to_the_last_digit() -> None:
    for _ in range(1000):
        metertap.record_usage(provider="x", model="plain", input_tokens=1)
    assert exact_cost() == Decimal("0.0001")


def test_the_programs_own_precision_changes_nothing() -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        record()
        assert costs()["spent"] == 0.0040625
    assert exact_cost() == Decimal("0.0040625")


def test_the_programs_own_precision_changes_no_view() -> None:
    @metertap.tool
    def search() -> None:
        record()

    search()
    metertap.reset_metrics()
    search()
    views = (
        lambda: state.recorder().spent(),
        lambda: state.recorder().spent_on_fees(),
        lambda: costs()["spent"],  # since the reset
        lambda: merging.usage(state.recorder().usage_figures() * 2),
        lambda: counters.read(state.recorder()).spent,
    )
    expected = [view() for view in views]
    with decimal.localcontext() as context:
        context.prec = 2
        context.traps[decimal.Inexact] = context.traps[decimal.FloatOperation] = True
        assert [view() for view in views] == expected
    assert expected[0] == 2 * (Decimal("0.0040625") + Decimal("0.005"))


def test_usage_belongs_to_the_tool_that_runs() -> None:
    @metertap.tool
    def search() -> None:
        record()

    search()
    record()
    found = costs()["tools"]
    assert {name: tool["model_calls"] for name, tool in found.items()} == {"search": 1, "none": 1}
    assert found["search"]["fees"] == 0.005
    assert found["search"]["spent"] == pytest.approx(0.0040625 + 0.005, abs=1e-12)
    assert found["search"]["per_successful_call"] == found["search"]["spent"]


def test_what_failed_calls_spent_is_known_when_they_end() -> None:
    @metertap.tool
    def search(fails: bool) -> None:
        record()
        if fails:
            during.append(costs()["tools"]["search"]["spent_on_failures"])
            raise ZeroDivisionError

    during: list[float] = []
    search(False)
    with pytest.raises(ZeroDivisionError):
        search(True)
    assert during == [0.0]
    tool = costs()["tools"]["search"]
    assert tool["spent_on_failures"] == pytest.approx(0.0040625 + 0.005)
    assert tool["spent"] == pytest.approx(2 * (0.0040625 + 0.005))


def test_a_thousand_tools_at_once_get_their_own_usage() -> None:
    async def use(number: int) -> None:
        with metertap.measure_tool(f"tool {number}"):
            await asyncio.sleep(0)
            metertap.record_usage(provider="x", model="plain", input_tokens=number)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*map(use, range(1000)))

    with metertap.instrument(json_endpoint=False):
        asyncio.run(main())
        figures = state.recorder().usage_figures()
    assert {series.tool: series.input_tokens for series in figures} == {
        f"tool {number}": number for number in range(1000)
    }


@pytest.mark.parametrize("value", [-1, 10**13, True, 1.5, "12", math.nan, [1]])
@pytest.mark.parametrize("name", ALL_OF_IT)
def test_a_usage_that_cannot_be_is_unknown(
    name: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        record(**{name: value})
    (model,) = costs()["models"]
    assert (model["calls"], model["unreported_calls"], model["input_tokens"]) == (3, 3, 0)
    assert model["spent"] is None
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_a_usage_that_is_missing_is_unknown(name: str, caplog: pytest.LogCaptureFixture) -> None:
    record(**{name: None})
    (model,) = costs()["models"]
    assert (model["unreported_calls"], model["spent"]) == (1, None)
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize(
    "parts", [{"cached_tokens": 1001}, {"reasoning_tokens": 201}, {"cache_write_tokens": 700}]
)
def test_parts_that_are_more_than_the_whole_are_unknown(parts: dict[str, int]) -> None:
    record(**parts)
    assert costs()["models"][0]["unreported_calls"] == 1


@pytest.mark.parametrize("names", [{"provider": ""}, {"model": None}, {"operation": 3}])
def test_without_names_nothing_is_counted(
    names: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    record(**names)
    assert costs()["models"] == []
    assert len(warnings_of(caplog)) == 1


def test_after_the_end_nothing_is_counted() -> None:
    metertap.instrument(json_endpoint=False).shutdown()
    record()
    assert state.recorder().usage_figures() == ()


def test_an_unknown_model_costs_null_and_is_listed() -> None:
    metertap.record_usage(provider="nobody", model="nothing", input_tokens=5)
    record()
    found = costs()
    assert found["unpriced_models"] == ["nobody/nothing"]
    assert found["unpriced_calls"] == 1
    assert [model["spent"] for model in found["models"]] == [None, 0.0040625]
    assert found["spent"] == 0.0040625


def test_figures_begin_again_and_counters_do_not() -> None:
    record()
    metertap.reset_metrics()
    assert costs()["models"] == []
    record(output_tokens=0)
    assert costs()["models"][0]["output_tokens"] == 0
    assert exact_cost() == Decimal("0.0040625") + Decimal("0.0020625")


def test_names_past_the_limit_share_one() -> None:
    with metertap.instrument(json_endpoint=False, series_limit=3):
        for number in range(10):
            metertap.record_usage(provider="x", model=f"m{number}", input_tokens=1)
        models = [(item["provider"], item["model"], item["calls"]) for item in costs()["models"]]
    assert models == [("x", "m0", 1), ("x", "m1", 1), ("x", "m2", 1), ("_OTHER", "_OTHER", 7)]


def test_providers_past_the_limit_share_a_name() -> None:
    with metertap.instrument(json_endpoint=False, series_limit=3):
        for number in range(10):
            metertap.record_usage(provider=f"p{number}", model="m", input_tokens=1)
        models = [(item["provider"], item["model"], item["calls"]) for item in costs()["models"]]
    assert models == [("p0", "m", 1), ("p1", "m", 1), ("p2", "m", 1), ("_OTHER", "_OTHER", 7)]


def test_repeats_are_looked_for_only_if_asked() -> None:
    from metertap.costs import repeats

    assert not repeats.are_looked_for()
    with metertap.instrument(json_endpoint=False, cost_repeats=True):
        assert repeats.are_looked_for()
        seen = [repeats.seen("t", "p", {"messages": text}) for text in ("a", "b", "a", object())]
        assert seen == [False, False, True, False]
        assert not any(b"messages" in digest for digest in repeats._known)


class Odd:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("nobody sees me")


@pytest.mark.faults
@pytest.mark.parametrize("what", ["within itself", "keys of two types", "without a text"])
def test_a_request_that_cannot_be_compared_costs_no_count(what: str) -> None:
    within: list[Any] = []
    within.append(within)
    odd = {"within itself": within, "keys of two types": {1: 1, "a": 1}, "without a text": Odd()}
    with metertap.instrument(json_endpoint=False, cost_repeats=True):
        call = model_calls.begin("openai", "chat", "own", request=odd[what])
        assert call is not None
        model_calls.report(call, Usage, 10, model="own", tier="x" * 10_000)
        call.end()
        assert len(call.tier) == 200
        assert [series.calls for series in state.recorder().usage_figures()] == [1]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("prices.m = 3", "prices.m"),
        ("prices.m = { input = -1 }", "prices.m"),
        ("prices.m = { input = nan }", "prices.m"),
        ("prices.m = { inputs = 1, input = 1 }", "did you mean input"),
        ("prices.m = { output = 1 }", "prices.m"),
        ("fees.t = true", "fees.t"),
        ('fees.t = "a lot"', "fees.t"),
        ("fees = 3", "fees"),
    ],
)
def test_a_price_that_cannot_be_is_one_warning(
    line: str, named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metertap.toml").write_text(line)
    with metertap.instrument(json_endpoint=False):
        metertap.record_usage(provider="openai", model="m", input_tokens=1)
        costs()
        costs()
    told = warnings_of(caplog)
    assert len(told) == 1
    assert named in told[0]


def test_calls_that_nobody_reads_are_added_up_by_a_thread_each_time() -> None:
    for _ in range(2):
        for _ in range(ledger._MOST):
            record()
        wait_for(lambda: not ledger._ended and not ledger._folding)
    (series,) = state.recorder().usage_figures()
    assert series.calls == 2 * ledger._MOST


def test_calls_are_added_up_where_there_are_no_new_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(ledger._MOST):
        record()
    assert ledger._ended == []


def test_models_that_failed_a_call_are_forgotten_when_it_ends() -> None:
    with metertap.measure_tool("search"):
        call = model_calls.begin("openai", "chat", "own")
        assert call is not None
        call.end(ValueError())
        ledger.fold()
        assert ledger.failing
    ledger.fold()
    assert not ledger.failing


def test_a_call_from_before_all_was_forgotten_is_not_counted_after() -> None:
    with metertap.instrument(json_endpoint=False):
        call = model_calls.begin("openai", model_calls.CHAT, "m")
        assert call is not None
    metertap.reset()
    with metertap.instrument(json_endpoint=False):
        call.end()
        found: Any = metertap.get_all_metrics()["cost_metrics"]
        assert found is None or found["models"] == []  # a tool may have a fee


def test_what_a_retry_spent_is_told_apart() -> None:
    with metertap.measure_tool("search"):
        call = model_calls.begin("openai", "chat", "own")
        assert call is not None
        call.end(ValueError())
        record()
    (series,) = state.recorder().usage_figures()
    assert (series.calls, series.retries) == (2, 1)
    assert series.spent_in_retries == series.spent == Decimal("0.0040625")
