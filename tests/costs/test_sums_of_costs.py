"""What is computed of figures that a test makes itself: each sum has one right value."""

from __future__ import annotations

import time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

import metertap
from metertap import outcomes, state
from metertap.costs import prices, recommendations, repeats, what_if
from metertap.costs.price_table import PriceTable
from metertap.costs.reuse import ReuseDistances
from metertap.costs.savings import Saving, Savings, savings
from metertap.costs.tool_cost import by_tool
from metertap.costs.usage import Usage
from metertap.recording import CacheFigures, Figures, LatencyFigures, Percentiles, ToolFigures
from metertap.recording.usage_series import _NUMBERS, UsageSeries


def latencies(calls: int, total_ms: float) -> LatencyFigures:
    return LatencyFigures(calls, total_ms, Percentiles())


def tool(hit: LatencyFigures, missed: LatencyFigures, **counts: int) -> ToolFigures:
    recorder = state.recorder()
    recorder.tool("search", "test")
    (figures,) = recorder.figures().tools
    return figures._replace(
        counts={**figures.counts, **counts}, with_cache=(hit, missed) if hit.calls else None
    )


def cache(name: str, hits: int, misses: int) -> CacheFigures:
    by_tool = {"search": (hits, misses)}
    return CacheFigures(name, "test", hits, misses, 0, None, by_tool, None, False, 1)


def figures(**parts: Any) -> Figures:
    return state.recorder().figures()._replace(**parts)


def test_usage_begins_at_nothing() -> None:
    series = UsageSeries("search", "openai", "gpt")
    assert not any(getattr(series, name) for name in _NUMBERS)
    assert not any(Usage())


def test_hits_of_two_caches_save_the_mean_of_all_misses_and_of_all_times() -> None:
    usage = UsageSeries("search", "x", "own", calls=5, spent_after_miss=Decimal(10))
    caches = (cache("one", 3, 2), cache("other", 1, 3))
    found = savings(
        figures(
            caches=caches, tools=(tool(latencies(4, 40.0), latencies(5, 1050.0)),), usage=(usage,)
        )
    )
    assert found.lookups == {"search": (4, 5)}
    assert found.cost_of_miss == {"search": Decimal(2)}
    assert found.of_model(usage) == Decimal(8)
    one, other = (saved for _, saved in found.by_cache)
    assert (one.hits, one.money, one.seconds) == (3, Decimal(6), pytest.approx(0.6))
    assert (other.hits, other.money, other.seconds) == (1, Decimal(2), pytest.approx(0.2))
    whole = found.by_tool["search"]
    assert (whole.hits, whole.money, whole.seconds) == (4, Decimal(8), pytest.approx(0.8))


def test_a_hit_that_takes_longer_than_a_miss_saves_no_time() -> None:
    slow = tool(latencies(1, 500.0), latencies(1, 10.0))
    found = savings(figures(caches=(cache("one", 1, 1),), tools=(slow,)))
    assert found.by_tool["search"] == Saving(1, None, 0.0)


def test_a_fee_alone_is_a_cost_and_is_shared_by_calls_that_succeed() -> None:
    ended = {outcomes.OK: 4, outcomes.EXCEPTION: 1, outcomes.CALLER_ERROR: 2}
    free = tool(latencies(0, 0.0), latencies(0, 0.0), **ended)
    found = by_tool(figures(tools=(free,)), {"search": Decimal("0.5")})["search"]
    ran = sum(count for name, count in ended.items() if name in outcomes.RAN)
    assert found.spent == Decimal("0.5") * ran
    assert found.per_success == found.spent / 4
    assert found.spent_in_failed == Decimal("0.5")
    assert (found.calls, found.succeeded, found.failed) == (7, 4, 1)
    assert by_tool(figures(tools=(free,)), {}) == {}


def test_the_cheapest_model_has_none_that_is_cheaper() -> None:
    pytest.importorskip("genai_prices")
    tokens = {"input_tokens": 10_000, "output_tokens": 1_000}
    dear = UsageSeries("search", "openai", "gpt-4o", calls=10, spent=Decimal("0.35"), **tokens)
    found = what_if.cheaper(dear)
    assert found is not None
    assert found.instead_of == dear.spent
    table = prices.price_table()
    assert table is not None
    cost = table.cost("openai", found.model, Usage(1000, 100), time.time())
    assert found.cost == 10 * (cost or 0)
    cheapest = UsageSeries("search", "openai", found.model, calls=10, spent=found.cost, **tokens)
    assert what_if.cheaper(cheapest) is None
    assert what_if.cheaper(UsageSeries("search", "openai", "gpt-4o")) is None


def test_without_the_table_no_price_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "price_table", lambda: None)
    monkeypatch.setattr(what_if, "price_table", lambda: None)
    found = prices.in_force()
    assert found.described() == {"table": None, "table_date": None}
    assert found.cost("openai", "gpt-4o", Usage(1), 0.0) is None
    spent = UsageSeries("search", "openai", "gpt-4o", calls=1, spent=Decimal(1))
    assert what_if.cheaper(spent) is None


@pytest.mark.faults
def test_what_the_table_cannot_price_has_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    table = PriceTable(SimpleNamespace(__version__="1"))  # and nothing else of the package
    monkeypatch.setattr(prices, "price_table", lambda: table)
    monkeypatch.setattr(table, "_providers", list)
    monkeypatch.setattr(table, "_model", lambda *_: (None, SimpleNamespace(prices=None)))
    assert table.newest_date is None
    found = prices.in_force()
    assert found.cost("openai", "gpt-4o", Usage(1), 0.0) is None
    assert found.described() == {"table": "genai-prices 1", "table_date": None}


def test_prices_are_read_once_for_the_same_settings() -> None:
    found = prices.in_force()
    assert prices.in_force() is found
    with metertap.instrument(json_endpoint=False):
        assert prices.in_force() is not found


def test_recommendations_begin_with_the_largest_saving() -> None:
    usage = [
        UsageSeries(
            *("search", "x", "own", calls, 4),
            seconds=2.0 * calls,
            retries=3,
            spent=Decimal(calls),
            spent_in_retries=Decimal(saves),
        )
        for calls, saves in ((19, 1), (20, 2))
    ]
    unpriced = UsageSeries("search", "x", "other", 1, 1, unpriced=1, retries=1)
    found = recommendations.of(figures(usage=[unpriced, *usage]), {}, Savings(), {})
    assert [item["saves"] for item in found] == [2.0, 1.0, None]
    assert [item["confidence"] for item in found] == ["medium", "low", "low"]
    assert {item["kind"] for item in found} == {"retries"}
    assert "4 of 20 calls failed and 3 were retries" in found[0]["arithmetic"]
    assert "at 2 s a call the failed ones took 8 s" in found[0]["arithmetic"]


def test_only_the_requests_that_came_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_MOST", 3)
    asked = [repeats.seen("search", "x", request) for request in (1, 2, 3, 1, 4, 1, 2)]
    assert asked == [False, False, False, True, False, True, False]
    assert len(repeats._known) == 3
    metertap.reset()
    assert not repeats._known


def test_without_lookups_no_key_came_again() -> None:
    assert ReuseDistances().size_for(0.9) == (None, 0.0)
