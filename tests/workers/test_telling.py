"""A worker tells what has changed, again and again, and its totals grow by that alone."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap import outcomes
from metertap.recording import Recorder
from metertap.workers import records
from metertap.workers.checking import Malformed
from metertap.workers.exchange import Changes, Heard, Told
from metertap.workers.ledger import Ledger
from metertap.workers.members import Files
from metertap.workers.records import Head, Totals
from support.told import LATENCIES, sections, sent


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


def test_a_record_grows_by_what_is_new_and_is_cut_off_nowhere(tmp_path: Path) -> None:
    recorder = Recorder()
    ledger, path = Ledger(recorder, sections(recorder)), tmp_path / "totals"
    totals = Totals(Files("shop"), str(path), ledger.sections)
    series = [recorder.tool(f"tool {number}", "library") for number in range(20)]
    sizes, counted = [], []
    assert not totals.is_missing
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
    assert not totals.is_missing
    path.unlink()  # somebody removed it: what is lost is written again
    assert totals.is_missing
    recorder.record_tool(series[0], outcomes.OK, None, 5.0)
    totals.save(Head("one"), ledger.now(["tools"]), 300.0)
    grown = [after - before for before, after in itertools.pairwise(sizes)]
    assert statistics.median(grown) < path.stat().st_size / 3
    found = records.read(path.read_bytes(), ledger.sections)
    assert found.sheet.keys() == ledger.sections.keys()
    assert sum(one.figures.sampled for one in found.sheet["tools"].values()) == 201
