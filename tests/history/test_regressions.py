"""What is told to be a regression, and what is not, of histories whose changes are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.regressions import DAY, HOUR, INTERVAL, Known, changed, slice_of, unchanged

from metertap.cli.regressions import shown
from metertap.history.answers import HistoryError, Slice, Subject
from metertap.history.comparison import Comparison, Series
from metertap.history.regressions import Period, Question, between_versions, of_newest, report
from metertap.text import time_span

START = 1_760_000_400.0
CACHE = Subject("cache", "prices", "redis")


def two_versions(before: list[Slice], after: list[Slice]) -> tuple[Known, Question]:
    answers = Known([*before, *after])
    return answers, between_versions(answers, "1", "2")


def tool(name: str, version: str, milliseconds: float, failing: float = 0.0) -> list[Slice]:
    """Fifty calls in each interval, log-normal, from the start or after it."""
    chance = np.random.default_rng(len(name))
    first = 0 if version == "1" else 10
    made = []
    for interval in range(first, first + 10):
        logs = chance.normal(math.log(milliseconds / 1000), 0.3, 50)
        failed = int(chance.binomial(50, failing))
        piece = slice_of(START + interval * INTERVAL, INTERVAL, version, logs, failed)
        piece.subject = Subject("tool", name, "mcp")
        made.append(piece)
    return made


def cache(version: str, hit_rate: float) -> list[Slice]:
    chance = np.random.default_rng(7)
    first = 0 if version == "1" else 10
    made = []
    for interval in range(first, first + 10):
        start = START + interval * INTERVAL
        hits = int(chance.binomial(60, hit_rate))
        piece = Slice(CACHE, "shop", version, "", start, start + INTERVAL)
        piece.hits, piece.misses = hits, 60 - hits
        made.append(piece)
    return made


def test_a_shift_of_a_fifth_is_found_with_its_beginning() -> None:
    chance = np.random.default_rng(11)
    found = [changed(chance, sigma, 0.2) for sigma in (0.3, 0.5) for _ in range(10)]
    slower = [item for each in found for item in each.regressions if item.what == "latency"]
    assert len(slower) >= 19
    assert all(item.change.low < 0.25 and item.change.high > 0.15 for item in slower)
    assert sum(item.version == "2" for item in slower) >= 17  # it began within one interval of it


@pytest.mark.parametrize("versions", [False, True])
def test_daily_cycles_outliers_and_traffic_are_no_regression(versions: bool) -> None:
    chance = np.random.default_rng(12)
    reports = [unchanged(chance, versions=versions) for _ in range(8)]
    assert all(each.compared == 1 for each in reports)
    assert not [item for each in reports for item in each.regressions]


def test_what_loses_most_time_comes_first_and_what_improved_last() -> None:
    answers, question = two_versions(
        [*tool("a", "1", 40), *tool("bb", "1", 400), *tool("ccc", "1", 40)],
        [*tool("a", "2", 60), *tool("bb", "2", 600), *tool("ccc", "2", 20)],
    )
    made = report(answers, question)
    found = [item for item in made.findings if item.what == "latency"]
    assert [(item.subject.name, item.is_worse) for item in found] == [
        ("bb", True),
        ("a", True),
        ("ccc", False),
    ]
    slowest = found[0]
    assert slowest.change.value == pytest.approx(0.5, rel=0.15)
    lost = slowest.lost_seconds_a_day
    assert lost == pytest.approx(0.2 * 50 / INTERVAL * DAY, rel=0.2)
    assert shown.as_table(made).rows[0][-1] == time_span(lost)
    assert (slowest.since, slowest.version) == (START + 10 * INTERVAL, "2")
    assert slowest.p_value < 1e-6


def test_a_slower_tail_alone_is_told_as_p95() -> None:
    slow = tool("a", "2", 40)
    for piece in slow:
        assert piece.latency is not None
        piece.latency.add([0.4] * 5)
        piece.outcomes["ok"] += 5
    answers, question = two_versions(tool("a", "1", 40), slow)
    (finding,) = report(answers, question).regressions
    assert finding.what == "p95"
    assert finding.after > 2 * finding.before


def test_failures_and_misses_are_told_in_points() -> None:
    answers, question = two_versions(
        [*tool("a", "1", 40, failing=0.02), *cache("1", 0.9)],
        [*tool("a", "2", 40, failing=0.2), *cache("2", 0.6)],
    )
    found = {item.what: item for item in report(answers, question).regressions}
    assert found.keys() == {"errors", "misses"}
    assert found["errors"].change.value == pytest.approx(0.18, abs=0.04)
    assert found["misses"].change.value == pytest.approx(0.3, abs=0.06)
    assert found["misses"].lost_seconds_a_day is None


def test_heavier_results_and_dearer_calls_are_told() -> None:
    chance = np.random.default_rng(7)

    def priced(version: str, bytes_each: float, usd_each: float) -> list[Slice]:
        made = tool("ask", version, 40)
        for piece in made:
            results = piece.calls
            piece.extra = {
                "results": results,
                "result_bytes": results * bytes_each * chance.uniform(0.95, 1.05),
                "model_calls": 2 * results,
                "cost_usd": results * usd_each * chance.uniform(0.95, 1.05),
            }
        return made

    answers, question = two_versions(priced("1", 800, 0.01), priced("2", 1200, 0.015))
    made = report(answers, question)
    found = {item.what: item for item in made.regressions}
    assert set(found) == {"result bytes", "cost"}
    for item, before in ((found["result bytes"], 800), (found["cost"], 0.01)):
        assert item.before == pytest.approx(before, rel=0.05)
        assert item.change.value == pytest.approx(0.5, rel=0.2)
        assert (item.since, item.version) == (START + 10 * INTERVAL, "2")
    cells = {row[1]: row for row in shown.as_table(made).rows}
    assert cells["cost"][2].startswith("$0.0")
    assert "%" in cells["result bytes"][4]
    same, unasked = two_versions(priced("1", 800, 0.01), priced("2", 800, 0.01))
    assert report(same, unasked).findings == []


def test_what_has_too_few_calls_is_named() -> None:
    answers, question = two_versions(
        [*tool("a", "1", 40), *tool("rare", "1", 40)[:1], *tool("gone", "1", 40)],
        [*tool("a", "2", 40), *tool("rare", "2", 40)[:1], *tool("new", "2", 40)],
    )
    made = report(answers, question)
    assert {item.subject.name: item.reason for item in made.untold} == {
        "rare": "too few calls",
        "gone": "nothing was measured after",
        "new": "nothing was measured before",
    }
    assert made.compared == 1


def test_a_version_that_was_never_seen_is_an_error_that_names_the_others() -> None:
    answers = Known(tool("a", "1", 40))
    with pytest.raises(HistoryError, match="no version 3 in it, but 1"):
        between_versions(answers, "1", "3")


def test_the_newest_day_is_compared_with_the_week_before_it() -> None:
    answers = Known(tool("a", "1", 40))
    question = of_newest(answers, 7 * DAY, now=START + 30 * DAY)
    end = START + 9 * INTERVAL + 10  # the end of what was measured, not of today
    assert (question.after, question.before) == (
        Period(end - DAY, end),
        Period(end - 8 * DAY, end - DAY),
    )
    assert question.step == HOUR


def test_a_single_failure_among_none_is_no_change() -> None:
    # All blocks are the same but one, which is left out with the extremes.
    times = START + INTERVAL * np.arange(24)
    before, after = np.tile([60.0, 0.0], (24, 1)), np.tile([60.0, 0.0], (24, 1))
    after[3] = [59.0, 1.0]
    comparison = Comparison(Series(times, before), Series(times + 240, after))
    assert comparison.p_value(np.array([0.0, 1.0])) == 1.0
