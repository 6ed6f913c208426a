"""Items of several workers that are merged again and again are what they are when merged anew."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from metertap import faults, outcomes
from metertap.recording import Recorder
from metertap.workers.exchange import Heard, Told
from metertap.workers.ledger import Ledger
from metertap.workers.merged import Merged
from metertap.workers.rows import Items, Sheet
from metertap.workers.sections import of_recorder
from metertap.workers.wire import VERSION, dumped, loaded
from support.told import sent

TOOLS = ("search", "order", "pay", "ship", "find")


class Worker:
    """A worker, and what the one that holds the port has heard of it."""

    def __init__(self, by: random.Random, *, is_own: bool) -> None:
        self._by = by
        self._recorder = Recorder(window_size=by.choice([2, 30]))
        self._ledger = Ledger(self._recorder, of_recorder(self._recorder))
        self._told, self._heard, self._is_own = Told(), Heard(), is_own

    def work(self) -> None:
        for name in self._by.sample(TOOLS, self._by.randrange(4)):
            series = self._recorder.tool(name, "library")
            for _ in range(self._by.choice([1, 1, 2, 40])):
                if self._by.random() < 0.8:
                    self._recorder.started(series)
                    series.append(self._by.random())
                else:
                    self._recorder.record_tool(series, outcomes.TIMEOUT, "E", self._by.random())
            if self._by.random() < 0.3:
                series.looked_up(True, self._by.random() < 0.5, self._by.random())
            if self._by.random() < 0.3:
                series.first_item(self._by.random())

    def forget(self) -> None:
        """Begin again, as after a reset."""
        self._recorder.reset()

    def told(self) -> Items:
        section = self._ledger.sections["tools"]
        now = self._ledger.now(["tools"])["tools"]
        if self._is_own:
            return now
        if not self._told.has(now):
            samples: list[bytes] = []
            written = section.encoded(self._told.changes(now), samples)
            found, left = loaded(dumped({"version": VERSION, "of": written}, samples))
            self._heard.take(section.decoded(found["of"], left))
        return self._heard.items


@pytest.mark.parametrize("seed", range(12))
def test_what_is_merged_again_is_what_is_merged_anew(seed: int) -> None:
    by, merged = random.Random(seed), Merged()
    section = next(one for one in of_recorder(Recorder()) if one.name == "tools")
    workers = [Worker(by, is_own=not number) for number in range(3)]
    for _ in range(40):
        for worker in workers:
            if by.random() < 0.7:
                worker.work()
            if by.random() < 0.2:  # another reader hears of it meanwhile
                worker.told()
                worker.work()
        chance = by.random()
        if chance < 0.05:
            by.choice(workers).forget()
        elif chance < 0.1:
            workers[by.choice([1, 2])] = Worker(by, is_own=False)
        sheets: list[Sheet] = [{"tools": worker.told()} for worker in workers]
        found = merged.of(section, sheets)
        anew = Merged().of(section, sheets)
        assert {**found} == {**anew}
        assert [*found] == [*anew]
        assert merged.of(section, sheets) is found


def test_only_what_changed_is_another_object_whoever_has_it() -> None:
    by, merged = random.Random(1), Merged()
    section = next(one for one in of_recorder(Recorder()) if one.name == "tools")
    recorders = [Recorder(), Recorder()]
    ledgers = [Ledger(recorder, of_recorder(recorder)) for recorder in recorders]
    for recorder, names in zip(recorders, (TOOLS[:3], TOOLS[:1:-1]), strict=True):
        for name in names:  # in another order, and not the same ones
            recorder.record_tool(recorder.tool(name, "library"), outcomes.OK, None, by.random())
    merged.of(section, [ledger.now(["tools"]) for ledger in ledgers])
    before = merged.of(section, [ledger.now(["tools"]) for ledger in ledgers])
    recorders[1].record_tool(recorders[1].tool("find", "library"), outcomes.OK, None, 5.0)
    after = merged.of(section, [ledger.now(["tools"]) for ledger in ledgers])
    assert (
        [*after]
        == [*before]
        == [(name, "library") for name in ("search", "order", "pay", "find", "ship")]
    )
    assert {name for (name, _), item in after.items() if item is not before[name, "library"]} == {
        "find"
    }
    assert after["find", "library"].figures.sampled == 2


def test_where_one_worker_has_a_new_item_the_others_stay_the_same_objects() -> None:
    recorders = [Recorder(), Recorder()]
    ledgers = [Ledger(recorder, of_recorder(recorder)) for recorder in recorders]
    section, told, heard = ledgers[0].sections["tools"], Told(), Heard()
    merged, found = Merged(), []
    for new in (TOOLS[:2], TOOLS[2:]):
        for name in new:
            recorders[1].record_tool(recorders[1].tool(name, "library"), outcomes.OK, None, 5.0)
        heard.take(sent(section, told.changes(ledgers[1].now(["tools"])["tools"])))
        sheets: list[Sheet] = [ledgers[0].now(["tools"]), {"tools": heard.items}]
        found.append(merged.of(section, sheets))
    before, after = found
    assert [name for name, _ in after] == [*TOOLS]
    assert {key: after[key] for key in before} == before
    assert all(after[key] is item for key, item in before.items())


@pytest.mark.faults
def test_a_fault_of_one_item_leaves_out_that_one_alone() -> None:
    recorder = Recorder()
    ledger = Ledger(recorder, of_recorder(recorder))
    for name in TOOLS:
        recorder.record_tool(recorder.tool(name, "library"), outcomes.OK, None, 5.0)
    section = ledger.sections["tools"]

    def broken(tables: Any, windows: Any) -> Any:
        found = section.merge(tables, windows)
        if any(part.figures.name == "pay" for part in found):
            raise ValueError(found)
        return found

    sheets, merged = [ledger.now(["tools"])], Merged()
    found = merged.of(dataclasses.replace(section, merge=broken), sheets)
    assert [name for name, _ in found] == [name for name in TOOLS if name != "pay"]
    assert faults.fault_counts() == {"workers.merged": 1}
    assert merged.of(section, []) == {}  # no worker has any more

    def broken_for_many(tables: Any, windows: Any) -> Any:
        (found,) = section.merge(tables, windows)
        return [found]

    found = merged.of(dataclasses.replace(section, merge=broken_for_many), sheets)
    assert len(found) == len(TOOLS)
    assert faults.fault_counts() == {"workers.merged": 2}


@pytest.mark.faults
def test_windows_that_had_moved_before_a_fault_are_sorted_again() -> None:
    recorders = [Recorder(), Recorder()]
    ledgers = [Ledger(recorder, of_recorder(recorder)) for recorder in recorders]
    section, merged = ledgers[0].sections["tools"], Merged()

    def look(merge: Any = section.merge) -> Any:
        for recorder in recorders:
            for name in TOOLS:
                recorder.record_tool(recorder.tool(name, "library"), outcomes.OK, None, by.random())
        sheets = [ledger.now(["tools"]) for ledger in ledgers]
        found = merged.of(dataclasses.replace(section, merge=merge), sheets)
        return found, Merged().of(section, sheets)

    def broken(tables: Any, windows: Any) -> Any:
        windows.percentiles()
        raise ValueError(len(tables))

    by = random.Random(1)
    for _ in range(3):
        found, anew = look()
        assert found == anew
    look(broken)
    found, anew = look()
    assert found == anew
