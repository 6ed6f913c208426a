"""Lines of series that are the same objects are written once, and never shown when they are old."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from metertap import outcomes
from metertap.catalogue import LATENCY_MAX
from metertap.recording import Recorder
from metertap.workers.ledger import Ledger
from metertap.workers.merged import Merged
from metertap.workers.rows import Items
from metertap.workers.sections import figures_of, of_process, of_recorder
from metertap_exporters.exposition import text
from metertap_exporters.exposition.families import Distribution, Family, Group, Series
from metertap_exporters.exposition.summed import Point, Summed
from metertap_exporters.exposition.text import Exposition
from metertap_exporters.exposition.views import Views
from metertap_exporters.json import system
from metertap_exporters.json.document import shown_again, shown_tools

SEARCH, ORDER = {"tool": "search"}, {"tool": "order"}


def family(series: Iterable[Series], *names: str, **constant: str) -> Family:
    group = Group(constant, frozenset(("tool", *names)), series, is_kept=True)
    return Family("sold", "counter", "Sold.", groups=[group])


def fresh(families: Iterable[Family], is_openmetrics: bool) -> str:
    return Exposition().text(families, is_openmetrics=is_openmetrics).decode()


def test_only_series_that_are_new_objects_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Series] = []
    write = text._counter
    monkeypatch.setitem(
        text._WRITERS, "counter", lambda *given: written.append(given[2]) or write(*given)
    )
    first, second, third = Series(SEARCH, 1), Series(ORDER, 1), Series(ORDER, 2)
    exposition = Exposition()
    for series in ([first, second], [first, second], [first, third]):
        shown = exposition.text([family(series)], is_openmetrics=False).decode()
        assert f'sold_total{{tool="order"}} {series[1].value}.0\n' in shown
    assert written == [first, second, third]


@pytest.mark.parametrize("is_first", [False, True])
def test_kept_lines_are_those_of_the_format_and_of_the_labels_that_are_asked_for(
    is_first: bool,
) -> None:
    series = [Series(SEARCH, 1_000_000.0), Series(ORDER, 2)]
    counts = Distribution([1.0], [1, 2], 3.0, {})
    exposition = Exposition()
    for is_openmetrics in (is_first, not is_first, is_first):
        for shown in (
            [family(series)],
            [family(series, "more")],
            [family(series, shop="a")],
            [family(series, shop="b")],
            [Family("took", "histogram", "", groups=family([Series(SEARCH, counts)]).groups)],
        ):
            found = exposition.text(shown, is_openmetrics=is_openmetrics).decode()
            assert found == fresh(shown, is_openmetrics)


def test_series_that_come_and_go_and_change_places_are_shown_as_they_are() -> None:
    by, exposition = random.Random(1), Exposition()
    labels = [{"tool": str(number)} for number in range(4)]
    known = [Series(each, 0) for each in labels]
    for _ in range(60):
        place = by.randrange(4)
        known[place] = known[place]._replace(value=by.randrange(9))
        shown = [family(by.sample(known, by.choice([2, 3, 3])))]
        found = exposition.text(shown, is_openmetrics=False).decode()
        assert found == fresh(shown, False)


def test_series_of_workers_stay_the_same_objects_until_they_change() -> None:
    def items(sold: int) -> Items:
        key = ("sold", "counter", "", "Sold.", "{}")
        return {(*key, '{"tool": "search"}'): kept, (*key, '{"tool": "order"}'): point(sold)}

    def point(sold: int) -> Point:
        return points.setdefault(sold, Point("counter", float(sold)))

    def series(sold: int, *, is_kept: bool) -> list[Series]:
        (made,) = summed.families(items(sold), is_kept=is_kept)
        return [*made.groups[0].series]

    points: dict[int, Point] = {}
    kept, summed = Point("counter", 1.0), Summed()
    first, second = series(1, is_kept=True), series(2, is_kept=True)
    assert first[0] is second[0]
    assert [each.value for each in second] == [1.0, 2.0]
    assert series(3, is_kept=False)[1].value == 3.0
    assert series(2, is_kept=True)[1].value == 2.0


def test_labels_outlive_scrapes_in_which_nothing_changes() -> None:
    recorder = Recorder()
    tool, views = recorder.tool("search", "a"), Views(recorder)

    def record() -> None:
        recorder.record_tool(tool, outcomes.OK, None, 5.0)

    def labels() -> list[object]:
        made = views.families(recorder.lifetime(), is_kept=True)
        return [series.labels for each in made for series in each.groups[0].series]

    record()
    first, _ = labels(), labels()
    record()
    assert all(one is other for one, other in zip(first, labels(), strict=True))
    assert not any(each.groups[0].is_kept for each in views.families(recorder.lifetime()))


def test_the_longest_of_calls_that_took_no_time_took_none() -> None:
    recorder = Recorder()
    recorder.record_tool(recorder.tool("search", "a"), outcomes.OK, None, 0.0)
    (longest,) = [each for each in Views(recorder).families() if each.name == LATENCY_MAX]
    assert [series.value for series in longest.groups[0].series] == [0.0]


def test_views_of_workers_show_each_change_and_make_nothing_else_anew() -> None:
    recorder, merged = Recorder(), Merged()
    ledger = Ledger(recorder, [*of_recorder(recorder), of_process(system.taken)])
    views, exposition = Views(recorder), Exposition()

    def scraped() -> tuple[str, list[int]]:
        now = ledger.now(ledger.sections)
        figures = figures_of(
            {name: merged.of(section, [now]) for name, section in ledger.sections.items()}
        )
        made = [*views.families(figures, is_kept=True)]
        shown = exposition.text(made, is_openmetrics=False).decode()
        assert shown == fresh(Views(recorder).families(figures), False)
        again = views.families(figures, is_kept=True)
        return shown, [id(each) for one in again for each in one.groups[0].series]

    for name in ("search", "order"):
        recorder.record_tool(recorder.tool(name, "a"), outcomes.OK, None, 5.0)
    first, same = scraped()
    assert scraped() == (first, same)
    recorder.record_tool(recorder.tool("order", "a"), outcomes.OK, None, 700.0)
    second, changed = scraped()
    assert 'gen_ai_tool_name="order",source="a"} 0.7\n' in second
    assert len(set(same) & set(changed)) == len(same) // 2


def test_tools_that_are_called_again_are_shown_by_the_names_of_before() -> None:
    recorder = Recorder()
    series = [recorder.tool(name, source) for name, source in (("a", "x"), ("a", "y"), ("b", "x"))]
    recorder.record_tool(series[0], outcomes.OK, None, 1.0)
    before = recorder.figures().tools
    shown = shown_tools(before, ())
    assert shown_again(shown, before, before) is shown
    assert shown_again({}, (), before) is None
    recorder.record_tool(series[0], outcomes.OK, None, 2.0)
    now = recorder.figures().tools
    again = shown_again(shown, before, now)
    assert again == shown_tools(now, ())
    assert again is not None
    assert [*again] == ["a", "a@y", "b"]
    recorder.record_tool(series[1], outcomes.OK, None, 2.0)
    assert shown_again(again, now, recorder.figures().tools) is None  # others may be hidden now
