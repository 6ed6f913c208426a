"""What a history gathers of a recorder between two of its intervals."""

from __future__ import annotations

from decimal import Decimal

import pytest

from metertap import outcomes
from metertap.history import gathering
from metertap.history.answers import Subject
from metertap.history.gathering import Gathering
from metertap.recording import Recorder

SEARCH = Subject("tool", "search", "library")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def call(recorder: Recorder, *latencies_ms: float | None, ended: str = outcomes.OK) -> None:
    series = recorder.tool("search", "library")
    for latency_ms in latencies_ms:
        recorder.record_tool(series, ended, None, latency_ms)


def test_much_that_waits_is_told_and_counted_once(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "_MANY", 3)
    told: list[int] = []
    found = Gathering(recorder, lambda: told.append(1))
    found.start()
    call(recorder, 1.0, 2.0, 3.0, 4.0)
    recorder.fold()
    assert told == [1]
    found.sort()
    call(recorder, 5.0, 6.0)
    recorder.fold()
    assert told == [1]
    assert found.take()[SEARCH].outcomes == {outcomes.OK: 6}
    assert found.take() == {}


def test_fees_alone_are_costs_of_their_tool(recorder: Recorder) -> None:
    recorder.fees = {"search": Decimal("0.01")}
    found = Gathering(recorder, lambda: None)
    found.start()
    call(recorder, 1.0, 2.0)
    call(recorder, 3.0, ended=outcomes.EXCEPTION)
    assert found.take()[SEARCH].extra == {
        "cost_usd": pytest.approx(0.03),
        "cost_of_failed_usd": pytest.approx(0.01),
    }


def test_latencies_are_of_calls_that_succeeded_or_failed_and_were_timed(recorder: Recorder) -> None:
    found = Gathering(recorder, lambda: None)
    found.start()
    call(recorder, 10.0, None)
    call(recorder, 20.0, None, ended=outcomes.EXCEPTION)
    call(recorder, 40.0, ended=outcomes.CANCELLED)
    tally = found.take()[SEARCH]
    assert tally.outcomes == {outcomes.OK: 2, outcomes.EXCEPTION: 2, outcomes.CANCELLED: 1}
    assert tally.latency is not None
    assert (tally.latency.count, tally.latency.total) == (2, pytest.approx(0.03))


def test_a_forked_child_has_nothing_of_its_parents_calls(recorder: Recorder) -> None:
    found = Gathering(recorder, lambda: None)
    found.start()
    call(recorder, 1.0)
    recorder.fold()
    found.forked()
    assert found.take() == {}
