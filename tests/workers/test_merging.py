"""Figures of several workers are those of one that had measured everything."""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap import catalogue, outcomes
from metertap.recording import OperationFigures, Percentiles, Recorder, WeightFigures
from metertap.recording.figures import Whole
from metertap.recording.percentiles import percentiles
from metertap.recording.usage_series import UsageSeries
from metertap.recording.window import run_of
from metertap.weight.definitions import Definition
from metertap.workers import merging, records
from metertap.workers.exchange import Changes, Heard, Told
from metertap.workers.ledger import Ledger
from metertap.workers.members import Files
from metertap.workers.merged import Merged
from metertap.workers.records import Head, Totals
from metertap.workers.rows import Items, Part, table_of
from metertap.workers.sections import Section, figures_of, of_process, of_recorder
from metertap.workers.together import Windows
from metertap.workers.wire import VERSION, Malformed, Samples, decoder, dumped, loaded

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


def merged(merge: Callable[..., Any], *parts: Part) -> Any:
    """Merge one item of several workers."""
    tables = [table_of({(): part}, [0]) for part in parts]
    (found,) = merge(tables, Windows([{}], [], [table.windows for table in tables]))
    return found


def over_the_wire(ledger: Ledger) -> dict[str, Items]:
    """What another process makes of it."""
    return {
        name: heard(ledger.sections[name], items).items
        for name, items in ledger.now(ledger.sections).items()
    }


def heard(section: Section, items: Items) -> Heard:
    found = Heard()
    found.take(sent(section, Told().changes(items)))
    return found


def sent(section: Section, changes: Changes) -> Changes:
    samples: list[bytes] = []
    written = dumped({"version": VERSION, "of": section.encoded(changes, samples)}, samples)
    found, left = loaded(written)
    return section.decoded(found["of"], left)


@given(CALLS)
def test_percentiles_are_of_all_windows_together(
    by_worker: list[list[tuple[str, float | None]]],
) -> None:
    window = 30
    ledgers = [ledger_of(calls, window) for calls in by_worker]
    tools = ledgers[0].sections["tools"]
    found = Merged().of(tools, [over_the_wire(ledger) for ledger in ledgers])
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


def test_one_worker_apart_has_the_percentiles_of_its_window() -> None:
    ledger = ledger_of([(outcomes.OK, 1.0), (outcomes.OK, 3.0), (outcomes.EXCEPTION, 40.0)])
    sheet = over_the_wire(ledger)
    own = figures_of(ledger.now(ledger.sections)).tools[0]
    assert own.percentiles.p50 == 3.0
    assert figures_of(sheet).tools == (own,)
    (alone,) = Merged().of(ledger.sections["tools"], [sheet]).values()
    assert alone.figures == own


@given(CALLS)
def test_totals_of_ended_workers_are_all_but_what_was_so_at_one_moment(
    by_worker: list[list[tuple[str, float | None]]],
) -> None:
    ledgers = [ledger_of(calls) for calls in by_worker]
    known = ledgers[0].sections
    kept = records.together(known, [over_the_wire(ledger) for ledger in ledgers])
    new = {name: (items, 1.0) for name, items in kept.items()}
    record = records.read(records.written(records.Head(ended=3), known, new, {}), known)
    assert record.head == records.Head(ended=3)
    assert record.at == dict.fromkeys(known, 1.0)
    figures = figures_of(record.sheet).tools[0]
    assert sum(figures.counts.values()) == sum(map(len, by_worker))
    assert (figures.window_samples, figures.active, figures.percentiles.p50) == (0, 0, None)


def test_what_has_not_changed_is_the_same_object_and_is_not_told_again() -> None:
    recorder = Recorder()
    one, other = recorder.tool("one", "library"), recorder.tool("other", "library")
    for series in (one, other):
        recorder.record_tool(series, outcomes.OK, None, 5.0)
    recorder.cache("prices", "manual").hits[None]()
    ledger = Ledger(recorder, sections(recorder))
    told = {name: Told() for name in ("tools", "caches")}

    def news() -> dict[str, Changes]:
        now = ledger.now(told).items()
        return {name: sent(ledger.sections[name], told[name].changes(items)) for name, items in now}

    first = news()
    assert [len(first[name].numbers) for name in told] == [2, 1]
    assert all(each.are_all for each in first.values())
    before = ledger.now(("tools",))["tools"]
    assert [(each.are_all, [*each.items]) for each in news().values()] == [(False, [])] * 2
    assert ledger.now(("tools",))["tools"] is before
    recorder.record_tool(other, outcomes.OK, None, 7.0)
    changed = news()["tools"]
    assert (changed.keys, changed.numbers) == ([], [1])
    (samples,), _, (kept,) = changed.items.windows
    assert ([*samples], kept) == ([7.0], 1)
    recorder.reset()
    recorder.record_tool(recorder.tool("one", "library"), outcomes.OK, None, 5.0)
    anew = news()["tools"]
    assert anew.are_all
    assert anew.keys == [("one", "library")]


@given(st.lists(st.lists(LATENCIES, max_size=12), max_size=12), st.integers(2, 9))
def test_what_is_told_again_and_again_is_the_workers_own(
    batches: list[list[float]], size: int
) -> None:
    recorder = Recorder(window_size=size)
    ledger, told, held = Ledger(recorder, sections(recorder)), Told(), Heard()
    tools = ledger.sections["tools"]
    series = recorder.tool("search", "library")
    for number, batch in enumerate(batches):
        for latency_ms in batch:
            recorder.record_tool(series, outcomes.OK, None, latency_ms)
        if number == 7:
            recorder.start_over()
        held.take(sent(tools, told.changes(ledger.now(["tools"])["tools"])))
        part = held.items["search", "library"]
        run = part.runs[0]
        in_ms = [sample * run.factor for sample in run.samples]
        assert in_ms == series.window.milliseconds()
        assert part.figures.sampled == sum(map(len, batches[: number + 1]))


@pytest.mark.faults
def test_after_a_fault_an_item_is_merged_when_it_is_asked_for_again() -> None:
    ledgers = [ledger_of([(outcomes.OK, 1.0)]), ledger_of([(outcomes.OK, 3.0)])]
    tools, merged = ledgers[0].sections["tools"], Merged()
    sheets = [ledger.now(["tools"]) for ledger in ledgers]
    breaks = [True]

    def merge(*given: Any) -> Any:
        if breaks:
            raise ValueError(breaks.pop())
        return tools.merge(*given)

    wrong = dataclasses.replace(tools, merge=merge)
    assert merged.of(wrong, sheets) == {}
    assert merged.of(wrong, sheets)["search", "library"].figures.sampled == 2


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
        sheets.append(over_the_wire(Ledger(recorder, sections(recorder))))
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


def test_operations_and_weights_keep_their_totals_without_a_window() -> None:
    requests = OperationFigures(
        *("server", "tools/list", None, 2, 1, {"E": 1}, 12.0, 5.0, 7.0),
        percentiles=Percentiles(6.0, 7.0, 7.0),
        window_samples=2,
        last_call=9.0,
    )
    run = run_of(array("d", [5.0, 7.0]), 1.0)
    one = Part(requests, (run,))
    other = merging.settled_part(one)
    assert (other.figures.window_samples, other.figures.percentiles) == (0, Percentiles())
    both = merged(merging.operations, other, one).figures
    assert (both.calls, both.failed, both.error_types, both.total_ms) == (4, 2, {"E": 2}, 24.0)
    assert (both.window_samples, both.percentiles.p50) == (2, 6.0)
    others = Part(requests._replace(error_types={"T": 2, "U": 0}))
    assert merged(merging.operations, one, others).figures.error_types == {
        "E": 1,
        "T": 2,
        "U": 0,
    }

    weighed = WeightFigures(
        *("search", "mcp:shop", "server", Definition(90, 20, 30), 2, 1, 3, False, 12, 7),
        percentiles=Percentiles(6.0, 7.0, 7.0),
        window_samples=2,
    )
    part = Part(weighed, (run,))
    bare = merging.settled_part(part)
    assert (bare.figures.window_samples, bare.figures.percentiles) == (0, Percentiles())
    sampled = bare._replace(figures=bare.figures._replace(definition=None, is_sampled=True))
    assert merged(merging.weights, sampled, part).figures == weighed._replace(
        results=4,
        unknown=2,
        skipped=6,
        is_sampled=True,
        total=24,
        percentiles=percentiles(run.samples),
        window_samples=2,
    )


def test_what_an_ended_worker_counted_with_its_caches_stays_apart() -> None:
    recorder = Recorder()
    series = recorder.tool("search", "library")
    for missed in (False, True, True):
        series.looked_up(True, missed, 0.005)
    (figures,) = recorder.figures().tools
    hit, missed = merging.settled_tool(Part(figures)).figures.with_cache
    assert (hit.calls, missed.calls) == (1, 2)
    assert hit.percentiles == missed.percentiles == Percentiles()


def test_usage_of_workers_is_added() -> None:
    one, other = (UsageSeries("search", "x", "own", calls=calls) for calls in (1, 2))
    assert merging.usage([one, other]).calls == 3


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
    assert merging.wholes([merging.settled_whole(one)] * 2).gc is None
    fewer = other._replace(gc=((1, 1, 1),))  # of another Python
    assert merging.wholes([one, fewer]).gc == ((2, 3, 4),)


def written_tools() -> tuple[Section, list[Any], bytes]:
    """One tool with two calls, as columns and the samples that come after them."""
    ledger = ledger_of([(outcomes.OK, 5.0), (outcomes.TIMEOUT, 7.0)])
    tools = ledger.sections["tools"]
    samples: list[bytes] = []
    written = tools.encoded(Told().changes(ledger.now(["tools"])["tools"]), samples)
    return tools, json.loads(json.dumps(written)), b"".join(samples)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [True],
        [True, [["search"]], 1, 5],
        [True, [["search", "library"]], 1, []],
        [True, [["search", "library"]], [0], []],
        [True, [["search", "library"]], 2**70, []],
        [True, [[5, "library"]], 1, None],
        [True, 5, 1, None],
        "x" * 20,
    ],
)
def test_what_is_no_section_is_refused(wrong: object) -> None:
    tools, _, samples = written_tools()
    with pytest.raises(Malformed):
        tools.decoded(wrong, Samples(memoryview(samples)))


@pytest.mark.parametrize("number", [-1, 1, 2**63 - 1])
def test_an_item_without_a_key_is_refused(number: int) -> None:
    tools, written, samples = written_tools()
    numbers = array("q", [number]).tobytes()
    data = numbers + samples[8:]
    with pytest.raises(Malformed):
        Heard().take(tools.decoded(written, Samples(memoryview(data))))


def places(column: Any) -> Iterator[tuple[list[Any], int]]:
    """Every place in nested lists."""
    if isinstance(column, list):
        for number, part in enumerate(column):
            yield column, number
            yield from places(part)


@given(st.data())
def test_any_other_value_in_the_place_of_one_is_refused_or_sane(data: st.DataObject) -> None:
    tools, written, samples = written_tools()
    sound = Heard()
    sound.take(tools.decoded(written, Samples(memoryview(samples))))
    (part,) = sound.items.values()
    holder, number = data.draw(st.sampled_from([*places(written[2:])]))
    holder[number] = data.draw(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.none() | st.integers() | st.booleans(), max_size=3)
        | st.lists(st.lists(st.integers(0, 2**40), max_size=2), max_size=3)
        | st.dictionaries(st.text(max_size=3), st.integers(-5, 5), max_size=3)
    )
    is_refused_or_sane(tools, written, samples, part)


@given(st.integers(0), st.binary(min_size=8, max_size=8) | st.just(bytes(8)), st.booleans())
def test_any_other_number_in_the_place_of_one_is_refused_or_sane(
    place: int, number: bytes, is_cut: bool
) -> None:
    tools, written, samples = written_tools()
    sound = Heard()
    sound.take(tools.decoded(written, Samples(memoryview(samples))))
    (part,) = sound.items.values()
    start = place % (len(samples) // 8) * 8
    other = samples[:start] + number + (b"" if is_cut else samples[start + 8 :])
    is_refused_or_sane(tools, written, other, part)


def is_refused_or_sane(tools: Section, written: Any, samples: bytes, part: Part) -> None:
    """Take what may be wrong: it is refused, or it can be merged and sent again."""
    found = Heard()
    try:
        found.take(tools.decoded(json.loads(json.dumps(written)), Samples(memoryview(samples))))
    except Malformed:
        return
    for other in found.items.values():
        merged_part = merged(merging.tools, other, part)
        assert all(count >= 0 for count in merged_part.figures.counts.values())
        json.dumps(tools.encoded(Changes(True, [], [0], [merged_part]), []), allow_nan=False)


def test_a_record_grows_by_what_is_new_and_is_cut_off_nowhere(tmp_path: Path) -> None:
    recorder = Recorder()
    ledger, path = Ledger(recorder, sections(recorder)), tmp_path / "totals"
    totals = Totals(Files("shop"), str(path), ledger.sections)
    series = [recorder.tool(f"tool {number}", "library") for number in range(20)]
    sizes, counted = [], []
    for number in range(200):
        recorder.record_tool(series[number % 20], outcomes.OK, None, 5.0)
        totals.save(Head("one"), ledger.now(["tools"] if number else ledger.sections), 1.0 + number)
        sizes.append(path.stat().st_size)
        record = records.read(path.read_bytes(), ledger.sections)
        counted.append(sum(one.figures.sampled for one in record.sheet["tools"].values()))
        assert (record.head.instance, record.at["tools"]) == ("one", 1.0 + number)
    assert counted == [*range(1, 201)]
    assert max(sizes) < 20 * sizes[0]
    assert any(after < before for before, after in itertools.pairwise(sizes))  # anew
    whole = path.read_bytes()
    for end in range(4 + int.from_bytes(whole[:4], "big"), len(whole), 7):
        records.read(whole[:end], ledger.sections)
    with pytest.raises(Malformed):
        records.read(whole[:20], ledger.sections)
    path.unlink()  # somebody removed it: what is lost is written again
    recorder.record_tool(series[0], outcomes.OK, None, 5.0)
    totals.save(Head("one"), ledger.now(["tools"]), 300.0)
    found = records.read(path.read_bytes(), ledger.sections)
    assert found.sheet.keys() == ledger.sections.keys()
    assert sum(one.figures.sampled for one in found.sheet["tools"].values()) == 201


def test_a_text_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(Malformed, match="cannot be written"):
        decoder(str)(["search", "\ud800"], 2, Samples(memoryview(b"")))
