"""What caches save and what could be changed: each equal to a calculation by hand."""

from __future__ import annotations

import functools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import state
from metertap.cli import main
from metertap.costs import budget
from metertap.tables.costs import tables
from metertap.tables.table import plain
from metertap.weight.definitions import Definition
from support.checked import check
from support.waiting import wait_for

PRICES = """
[tool.metertap.prices]
own = { input = 1, output = 2 }
[tool.metertap.alerts]
daily_budget = 0.5
"""


@pytest.fixture(autouse=True)
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "metertap.toml").write_text(PRICES)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    with metertap.instrument() as tap:
        yield tap


def ask(dollars: int) -> None:
    metertap.record_usage(provider="x", model="own", input_tokens=1_000_000 * dollars)


def use(*, hits: int = 0, misses: int = 0, fails: bool = False) -> None:
    """One call of `search`, which asks a model for a dollar after each miss."""
    cache = metertap.cache_meter("answers")
    with metertap.measure_tool("search"):
        for _ in range(hits):
            cache.hit()
        for _ in range(misses):
            cache.miss()
            ask(1)
        if fails:
            raise ZeroDivisionError


def costs() -> dict[str, Any]:
    document = metertap.get_all_metrics()
    check(document)
    found: Any = document["cost_metrics"]
    return dict(found)


def changes(kind: str) -> list[dict[str, Any]]:
    return [item for item in costs()["recommendations"] if item["kind"] == kind]


def test_a_hit_saves_the_mean_cost_of_a_miss() -> None:
    for _ in range(4):
        use(misses=1)
    with metertap.measure_tool("search"):
        ask(1)  # before any miss in its own call: nothing that a hit would save
    use(hits=1)
    use(hits=2)
    found = costs()
    assert found["caches"]["answers"]["hits"] == 3
    assert found["caches"]["answers"]["saved"] == 3.0
    assert found["caches"]["answers"]["seconds_saved"] is not None
    assert found["tools"]["search"]["saved_by_caches"] == 3.0
    assert found["saved_by_caches"] == 3.0
    assert found["tools"]["search"]["spent"] == 5.0


def test_two_caches_share_what_their_tool_saves() -> None:
    other = metertap.cache_meter("other")
    use(misses=1)
    with metertap.measure_tool("search"):
        other.miss()
        ask(3)
    use(hits=1)
    with metertap.measure_tool("search"):
        other.hit()
    found = costs()["caches"]
    # 4 dollars after 2 misses
    assert {name: cache["saved"] for name, cache in found.items()} == {"answers": 2.0, "other": 2.0}


def test_without_a_price_nothing_is_known_to_be_saved() -> None:
    cache = metertap.cache_meter("answers")
    for look in (cache.miss, cache.hit):
        with metertap.measure_tool("search"):
            look()
            metertap.record_usage(provider="x", model="unknown", input_tokens=1)
    found = costs()
    assert found["caches"]["answers"]["saved"] is None
    assert (found["saved_by_caches"], found["spent"]) == (None, None)


def test_failures_that_cost_are_told_with_their_sum() -> None:
    for fails in (True, False, False, False):
        try:
            use(misses=1, fails=fails)
        except ZeroDivisionError:
            assert fails
    (found,) = changes("failures")
    assert (found["tool"], found["saves"]) == ("search", 1.0)
    assert "1 of 4 calls failed; they cost $1.00 of $4.00, 25.0 %" in found["arithmetic"]


def test_a_cache_that_gives_up_entries_is_told_with_its_sum() -> None:
    cache = metertap.cache_meter("answers")
    for _ in range(20):
        use(misses=1)
    use(hits=20)
    cache.evicted(15)
    (found,) = changes("cache_too_small")
    assert (found["cache"], found["saves"]) == ("answers", 15.0)
    assert "15 evictions, 20 misses in 40 lookups" in found["arithmetic"]
    assert "as much as 87.5%" in found["arithmetic"]
    assert "no size reaches 90%: 5 misses were no matter of room" in found["arithmetic"]
    assert "15 × $1.00 a miss = $15.00" in found["arithmetic"]


def test_the_size_for_nine_hits_in_ten_has_a_bound() -> None:
    cachetools = pytest.importorskip("cachetools")
    cache = cachetools.LRUCache(5)
    squared = cachetools.cached(cache)(lambda number: number * number)
    for _ in range(20):  # each key comes again after five others, so none is there any more
        for number in range(6):
            squared(number)
    ask(1)
    (found,) = changes("cache_too_small")
    assert "115 evictions, 120 misses in 120 lookups" in found["arithmetic"]
    assert "with room for 115 entries more nothing" in found["arithmetic"]
    assert "as much as 95.8%; 90% need 108 hits more, and at most that" in found["arithmetic"]


def test_a_cache_that_evicts_little_needs_no_word() -> None:
    for _ in range(20):
        use(misses=1)
    metertap.cache_meter("answers").evicted(3)
    assert changes("cache_too_small") == []


def test_a_cheaper_model_is_of_the_same_provider() -> None:
    pytest.importorskip("genai_prices")
    metertap.record_usage(
        provider="openai", model="gpt-4o", input_tokens=100_000, output_tokens=10_000
    )
    (found,) = changes("cheaper_model")
    assert "$0.35" in found["arithmetic"]  # 2.50 and 10 dollars for a million
    assert 0 < found["saves"] < 0.35
    assert found["confidence"] == "low"


def test_what_weighs_much_is_among_the_recommendations() -> None:
    with metertap.measure_tool("asks"):
        metertap.record_usage(provider="x", model="own", input_tokens=1)
    definition = Definition(9_000, 1_000, 7_000)
    state.recorder().weight("asks", "mcp").defined_by(lambda _tool: definition, None)
    (found,) = changes("heavy_definition")
    assert (found["tool"], found["cache"], found["saves"]) == ("asks", None, None)
    assert "9000 / 4.3 bytes a token = 2093 tokens, 1.0 % of a context" in found["arithmetic"]
    assert found["confidence"] == "medium"


def test_repeats_are_worth_a_word_where_there_is_no_cache() -> None:
    from metertap.costs import model_calls
    from metertap.costs.usage import Usage

    with metertap.measure_tool("none yet"):
        pass
    metertap.uninstrument()
    with metertap.instrument(json_endpoint=False, cost_repeats=True):
        for number in (1, 1, 1, 2):
            with metertap.measure_tool("translate"):
                call = model_calls.begin("x", "chat", "own", request={"text": number})
                assert call is not None
                call.usage = Usage(1_000_000)
                call.end()
        (found,) = changes("cache_repeats")
    assert (found["tool"], found["saves"]) == ("translate", 2.0)
    assert "2 of 4 requests had been sent before; they cost $2.00" in found["arithmetic"]


@pytest.mark.parametrize(
    ("spent", "seconds", "forecast", "is_over"),
    [
        (Decimal("0.001"), 60.0, 1.44, True),
        (Decimal("0.0001"), 60.0, 0.144, False),
        (Decimal("0.001"), 59.9, None, None),
        (Decimal("0.6"), 3.0, None, True),
        (None, 60.0, None, None),
    ],
)
def test_the_outlook_is_what_was_spent_over_a_minute_and_more(
    spent: Decimal | None, seconds: float, forecast: float | None, is_over: bool | None
) -> None:
    figures = state.recorder().figures()._replace(uptime_seconds=seconds)
    assert budget.outlook(spent, figures) == {
        "daily": 0.5,
        "forecast_daily": forecast and pytest.approx(forecast),
        "over_seconds": seconds,
        "is_over": is_over,
    }


@pytest.mark.parametrize(
    "given", ["0", "-1", "true", '"much"', "inf", "nan", "1e400", "1_000_000", "1" + "0" * 400]
)
def test_a_budget_that_is_no_sum_is_none(given: str, tmp_path: Path) -> None:
    (tmp_path / "metertap.toml").write_text(f"[tool.metertap.alerts]\ndaily_budget = {given}\n")
    metertap.uninstrument()
    with metertap.instrument(json_endpoint=False):
        assert budget.daily_budget() is None


def test_the_command_shows_tables_and_json(
    measured: metertap.Tap, capsys: pytest.CaptureFixture[str]
) -> None:
    use(misses=1)
    url = wait_for(lambda: measured.json_url)
    assert main(["costs", url]) == 0
    shown = capsys.readouterr().out
    assert "spent $1.00" in shown
    assert "x/own" in shown
    assert main(["costs", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spent"] == 1.0


def test_without_costs_the_command_says_so(
    measured: metertap.Tap, capsys: pytest.CaptureFixture[str]
) -> None:
    metertap.record_tool_call("search", True, 1.0)
    assert main(["costs", wait_for(lambda: measured.json_url)]) == 1
    said = capsys.readouterr().err
    assert "no model call was seen that told how many tokens it used" in said
    assert "metertap.record_usage(" in said


def test_what_has_no_price_is_marked_in_the_tables() -> None:
    metertap.record_usage(provider="x", model="unknown", input_tokens=1)
    text = "\n".join(plain(table) for table in tables(metertap.get_all_metrics()["cost_metrics"]))
    assert "–*" in text
    assert "1 calls that have no price: x/unknown" in text


def test_hits_of_a_cache_that_does_not_show_who_asks_are_unknown() -> None:
    @functools.lru_cache
    def price(of: int) -> int:
        return of

    metertap.name_cache(price, "prices")
    with metertap.measure_tool("quote"):
        assert price(1) == price(1)
    ask(1)
    document = metertap.get_all_metrics()
    check(document)
    assert document["cache_metrics"]["prices"]["hits"] == 1
    assert document["cost_metrics"]["caches"]["prices"]["hits"] is None
    shown = tables(document["cost_metrics"])
    (line,) = [row for table in shown for row in table.rows if row[0] == "prices"]
    assert set(line[1:]) == {"–"}
    assert "– unknown: only a total of the hits is known of prices." in shown[-1].legend
    assert [row[0] for row in shown[0].rows] == ["outside tools"]
    assert shown[1].rows[0][1] == "outside tools"
