"""Figures of several workers are those of one that had measured everything."""

from __future__ import annotations

import json
import statistics
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap import catalogue, outcomes
from metertap.recording import Recorder
from metertap.workers import merging, records
from metertap.workers.ledger import Ledger, Merged, Told
from metertap.workers.merging import Whole
from metertap.workers.sections import (
    Changes,
    Items,
    Section,
    figures_of,
    of_process,
    of_recorder,
)
from metertap.workers.wire import Malformed, Samples, decoder, encoder

LATENCIES = st.floats(0, 1e6, allow_nan=False)
ENDED = st.tuples(st.sampled_from(outcomes.ALL), st.none() | LATENCIES)
CALLS = st.lists(st.lists(ENDED, max_size=60), min_size=1, max_size=4)
"""Outcomes and latencies in ms, by worker."""


def sections(recorder: Recorder) -> list[Section]:
    whole = of_process(lambda figures: Whole(figures.start_time, 0, 0, 1.0, None, 1, None))
    return [*of_recorder(recorder), whole]


def ledger_of(calls: Sequence[tuple[str, float | None]], window: int = 30) -> Ledger:
    recorder = Recorder(window_size=window)
    series = recorder.tool("search", "library")
    for ended, latency_ms in calls:
        recorder.record_tool(series, ended, None if ended == outcomes.OK else "E", latency_ms)
    return Ledger(recorder, sections(recorder))


def through_json(ledger: Ledger) -> dict[str, Items]:
    """What another process makes of it."""
    told = Told()
    return {
        name: ledger.sections[name].after({}, over_the_wire(ledger.sections[name], told, items))
        for name, items in ledger.now(ledger.sections).items()
    }


def over_the_wire(section: Section, told: Told, items: Items) -> Changes:
    written = json.dumps(section.encoded(told.changes(section, items)), allow_nan=False)
    return section.decoded(json.loads(written))


@given(CALLS)
def test_percentiles_are_of_all_windows_together(
    by_worker: list[list[tuple[str, float | None]]],
) -> None:
    window = 30
    ledgers = [ledger_of(calls, window) for calls in by_worker]
    tools = ledgers[0].sections["tools"]
    found = Merged().of(tools, [through_json(ledger) for ledger in ledgers])
    figures = found["search", "library"].figures
    sampled = [
        [ms for ended, ms in calls if ms is not None and ended in outcomes.SAMPLED]
        for calls in by_worker
    ]
    samples = [ms for each in sampled for ms in each[-window:]]
    everything = [call for calls in by_worker for call in calls]
    assert figures.window_samples == len(samples)
    percentiles = figures.percentiles
    if len(samples) < 2:
        assert (percentiles.p50, percentiles.p95, percentiles.p99) == (None, None, None)
    else:
        exact = statistics.quantiles(samples, n=100)
        assert percentiles.p50 == exact[49]
        assert percentiles.p95 == exact[94]
        assert percentiles.p99 == exact[98]
    assert figures.counts == {
        name: sum(ended == name for ended, _ in everything) for name in outcomes.ALL
    }
    flat = [ms for each in sampled for ms in each]
    assert (figures.minimum_ms, figures.maximum_ms) == (
        min(flat, default=None),
        max(flat, default=None),
    )
    assert figures.sampled == len(flat)
    assert figures.total_ms == pytest.approx(sum(flat))
    assert figures.unsampled == sum(
        ms is not None and ended not in outcomes.SAMPLED for ended, ms in everything
    )


@given(CALLS)
def test_totals_of_ended_workers_are_all_but_what_was_so_at_one_moment(
    by_worker: list[list[tuple[str, float | None]]],
) -> None:
    ledgers = [ledger_of(calls) for calls in by_worker]
    known = ledgers[0].sections
    kept = records.together(known, [through_json(ledger) for ledger in ledgers])
    text = records.written(records.Record(records.Head(at=1.0, ended=3), kept), known)
    record = records.read(text, known)
    assert record.head == records.Head(at=1.0, ended=3)
    figures = figures_of(record.sheet).tools[0]
    assert sum(figures.counts.values()) == sum(map(len, by_worker))
    assert (figures.window_samples, figures.active, figures.percentiles.p50) == (0, 0, None)


def test_what_has_not_changed_is_the_same_object_and_is_not_told_again() -> None:
    recorder = Recorder()
    one, other = recorder.tool("one", "library"), recorder.tool("other", "library")
    for series in (one, other):
        recorder.record_tool(series, outcomes.OK, None, 5.0)
    recorder.cache("prices", "manual").hits[None]()
    ledger, told = Ledger(recorder, sections(recorder)), Told()

    def news() -> dict[str, Changes]:
        now = ledger.now(("tools", "caches")).items()
        return {name: over_the_wire(ledger.sections[name], told, items) for name, items in now}

    first = news()
    assert [len(first[name].news) for name in ("tools", "caches")] == [2, 1]
    assert all(each.are_all for each in first.values())
    before = ledger.now(("tools",))["tools"]
    assert news() == {"tools": (False, {}), "caches": (False, {})}
    assert ledger.now(("tools",))["tools"] is before
    recorder.record_tool(other, outcomes.OK, None, 7.0)
    changed = news()["tools"].news
    assert list(changed) == [("other", "library")]
    assert list(changed["other", "library"].pieces[0].samples.values) == [7.0]
    recorder.reset()
    recorder.record_tool(recorder.tool("one", "library"), outcomes.OK, None, 5.0)
    anew = news()["tools"]
    assert anew.are_all
    assert list(anew.news) == [("one", "library")]


@given(st.lists(st.lists(LATENCIES, max_size=12), max_size=12), st.integers(2, 9))
def test_windows_that_are_told_piece_by_piece_are_the_workers_own(
    batches: list[list[float]], size: int
) -> None:
    recorder = Recorder(window_size=size)
    ledger, told = Ledger(recorder, sections(recorder)), Told()
    tools = ledger.sections["tools"]
    held: Items = {}
    series = recorder.tool("search", "library")
    for number, batch in enumerate(batches):
        for latency_ms in batch:
            recorder.record_tool(series, outcomes.OK, None, latency_ms)
        if number == 7:
            recorder.start_over()
        held = tools.after(held, over_the_wire(tools, told, ledger.now(["tools"])["tools"]))
        part = held["search", "library"]
        assert list(part.windows[0].ordered()) == sorted(series.window.milliseconds())
        assert part.figures.sampled == sum(map(len, batches[: number + 1]))


def test_percentiles_of_parts_and_of_operations_are_exact_too() -> None:
    hit_ms, first_ms, request_ms = [[1.0, 3.0], [2.0, 40.0]], [[7.0, 9.0], [8.0]], [[4.0], [6.0]]
    sheets = []
    for hits, firsts, requests in zip(hit_ms, first_ms, request_ms, strict=True):
        recorder = Recorder()
        series = recorder.tool("search", "library")
        for ms in hits:
            series.looked_up(True, False, ms / 1000)
        for ms in firsts:
            series.first_item(ms / 1000)
        for ms in requests:
            attributes = {catalogue.MCP_METHOD: "tools/list"}
            recorder.record_operation("key", catalogue.SERVER_DURATION, attributes, ms / 1000)
        sheets.append(through_json(Ledger(recorder, sections(recorder))))
    known = {section.name: section for section in of_recorder(Recorder())}
    tool = Merged().of(known["tools"], sheets)["search", "library"].figures
    assert tool.with_cache[0].calls == 4
    both_ms = [*hit_ms[0], *hit_ms[1]]
    assert tool.with_cache[0].percentiles.p95 == statistics.quantiles(both_ms, n=100)[94]
    assert tool.with_cache[1].calls == 0
    assert tool.first_item.percentiles.p50 == 8.0
    (operation,) = Merged().of(known["operations"], sheets).values()
    assert (operation.figures.calls, operation.figures.percentiles.p50) == (2, 5.0)
    (first,) = Merged().of(known["operations"], sheets)
    assert first == ("server", "tools/list", None)


def test_caches_are_added_and_what_is_not_known_is_not() -> None:
    recorders = [Recorder(), Recorder()]
    for number, recorder in enumerate(recorders):
        known = recorder.cache("prices", "manual", frozenset({"evictions"}))
        tool = recorder.tool("search", "library")
        for _ in range(3 + number):
            recorder.cache_looked_up(known, True, tool)
        recorder.cache_looked_up(known, False, None)
        recorder.cache_evicted(known, 2)
        known.entries = lambda: 5
    figures = [recorder.cache_figures()[0] for recorder in recorders]
    found = merging.caches(figures)
    assert (found.hits, found.misses, found.evictions, found.rejections) == (7, 2, 4, None)
    assert (found.by_tool, found.entries) == ({"search": (7, 0)}, 10)
    assert merging.settled_cache(found).entries is None


def test_wholes_begin_with_the_first_and_their_collections_are_added() -> None:
    one = Whole(10.0, 1, 2, 0.5, 100, 3, ((1, 2, 3), (4, 5, 6)))
    other = Whole(5.0, 2, 0, 1.0, None, 4, ((1, 1, 1), (1, 1, 1)))
    assert merging.wholes([one, other]) == Whole(5.0, 3, 2, 1.5, 100, 7, ((2, 3, 4), (5, 6, 7)))
    assert merging.wholes([one, merging.settled_whole(other)]) == Whole(
        5.0, 1, 2, 1.5, 100, 3, ((1, 2, 3), (4, 5, 6))
    )


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [True],
        [True, [[["search"], 5]]],
        [True, [[["search", "library"], []]]],
        [True, [["search", "library"]]],
        [True, [[[5, "library"], None]]],
        [True, None],
        "x" * 20,
    ],
)
def test_what_is_no_section_is_refused(wrong: object) -> None:
    (tools, *_) = of_recorder(Recorder())
    with pytest.raises(Malformed):
        tools.decoded(wrong)


@given(st.data())
def test_any_other_value_in_the_place_of_one_is_refused_or_sane(data: st.DataObject) -> None:
    ledger = ledger_of([(outcomes.OK, 5.0), (outcomes.TIMEOUT, 7.0)])
    tools = ledger.sections["tools"]
    items = ledger.now(["tools"])["tools"]
    (part,) = tools.after({}, over_the_wire(tools, Told(), items)).values()
    written = tools.encoded(tools.changes({}, items))
    news = written[1][0][1]
    place = data.draw(st.integers(0, len(news[0])))
    wrong = data.draw(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=3)
        | st.lists(st.tuples(st.integers(), st.booleans(), st.text(max_size=5)), max_size=3)
        | st.dictionaries(st.text(max_size=3), st.integers(-5, 5), max_size=3)
    )
    if place < len(news[0]):
        news[0][place] = wrong
    else:
        news[1] = wrong
    try:
        (found,) = tools.after({}, tools.decoded(json.loads(json.dumps(written)))).values()
    except Malformed:
        return
    merged = merging.tools([found, part])
    assert all(count >= 0 for count in merged.figures.counts.values())
    json.dumps(tools.encoded(tools.changes({}, {("a", "b"): merged})), allow_nan=False)


def test_samples_that_are_no_numbers_are_refused() -> None:
    decode = decoder(Samples)
    assert list(decode(encoder(Samples)(Samples(array("d", [1.0, 2.5])))).values) == [1.0, 2.5]
    for wrong in ("AAA", "AAAA", 5, "é"):
        with pytest.raises(Malformed):
            decode(wrong)
    for number in (float("nan"), float("inf"), -1.0):
        with pytest.raises(Malformed):
            decode(encoder(Samples)(Samples(array("d", [1.0, number]))))
