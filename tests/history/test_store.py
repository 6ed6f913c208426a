"""The file of a history: what goes in comes out, merged, thinned and within its size."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from metertap.history import store as storing
from metertap.history.answers import By, HistoryError, Subject
from metertap.history.database import QUARTER, TIERS, rows_between
from metertap.history.file_answers import FileAnswers
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from support.stored_history import DAY, MEGABYTE, MIDNIGHT, PRICES, RUN, SEARCH, interval, slices


def test_everything_that_is_written_is_read(path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT, interval(4))])
    (tool,) = slices(path)
    (cache,) = slices(path, name="prices")
    assert (tool.subject, tool.service, tool.start, tool.end) == (
        *(SEARCH, "shop", MIDNIGHT, MIDNIGHT + DAY),
    )
    assert (tool.outcomes, tool.error_types) == ({"ok": 4, "exception": 1}, {"ValueError": 1})
    assert (tool.calls, tool.failed, tool.error_rate) == (5, 1, 0.2)
    assert tool.latency is not None
    assert tool.latency.count == 5
    assert tool.extra == {"tokens": 2.5}
    assert (cache.subject, cache.hits, cache.misses, cache.hit_rate) == (PRICES, 3, 1, 0.75)
    assert (cache.latency, cache.calls, cache.error_rate) == (None, 0, None)


@pytest.mark.parametrize("step", [60, 600, 3600, 7200, QUARTER, DAY // 2, DAY, 2 * DAY, 30 * DAY])
def test_no_roll_up_changes_a_sum(path: Path, store: Store, step: int) -> None:
    numbers = random.Random(7)
    starts = [MIDNIGHT + 10 * numbers.randrange(2 * 8640) for _ in range(120)]
    for start in starts:
        store.write(RUN, [(start, interval(numbers.randrange(5), numbers.lognormvariate(-2, 1)))])

    def whole() -> tuple[Counter[str], list[tuple[float, int]]]:
        found = slices(path, step=step)
        total = Tally()
        for each in found:
            total.merge(Tally(each.outcomes, latency=each.latency))
        return Counter(total.outcomes), list(total.sketch().buckets())

    before, periods = whole(), [each.start for each in slices(path, step=step)]
    for now in range(MIDNIGHT, MIDNIGHT + 3 * DAY, DAY // 4):
        store.tend(now)
        assert whole() == before
    assert [each.start for each in slices(path, step=step)] == periods
    assert periods == sorted(set(periods))


def test_quarters_of_a_file_that_an_earlier_metertap_has_rolled_up_are_as_whole_as_new_ones(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had merged hours into days at once; a newer and an older one may write in turn."""
    expected: Counter[float] = Counter()
    for day in range(4):
        for hour in range(24):
            start = MIDNIGHT + day * DAY + hour * 3600
            store.write(RUN, [(start, interval(hour))])
            expected[start // QUARTER * QUARTER] += hour
        with monkeypatch.context() as earlier:
            if day % 2 == 0:
                earlier.setattr(storing, "TIERS", tuple(each for each in TIERS if each != QUARTER))
                earlier.setattr(storing, "rolled_mark", lambda _tier: 1)
            for now in (12, 25):
                store.tend(MIDNIGHT + day * DAY + now * 3600)
        until = MIDNIGHT + (day + 1) * DAY
        found = slices(path, step=QUARTER, until=until)
        assert {each.start: each.outcomes.get("ok", 0) for each in found} == expected
        halves = slices(path, step=2 * QUARTER, until=until)
        days = slices(path, step=DAY, until=until)
        for longer in (halves, days):
            assert sum(each.outcomes.get("ok", 0) for each in longer) == expected.total()


def test_a_question_for_quarters_reads_their_rows_alone(path: Path, store: Store) -> None:
    for hour in range(48):
        store.write(RUN, [(MIDNIGHT + hour * 3600, interval(1))])
    store.tend(MIDNIGHT + 3 * DAY)
    rows = store._connection.execute("SELECT tier, rolled FROM chunk WHERE tier >= 3600").fetchall()
    assert Counter(rows) == {(3600, 2): 48, (QUARTER, 1): 8, (DAY, 0): 2}
    with closing(FileAnswers(path)) as answers:
        read = rows_between(answers._connection, QUARTER, MIDNIGHT, MIDNIGHT + 2 * DAY)
        assert len([*read]) == 8


def test_what_comes_late_is_counted_before_and_after_it_is_merged(path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    store.tend(MIDNIGHT + 2 * DAY)
    store.write(RUN, [(MIDNIGHT + 20, interval(2))])  # the clock was set back, say
    assert [each.outcomes["ok"] for each in slices(path)] == [3]
    store.tend(MIDNIGHT + 2 * DAY)
    assert [each.outcomes["ok"] for each in slices(path)] == [3]


def test_a_month_later_the_days_are_there_and_the_seconds_are_gone(
    path: Path, store: Store
) -> None:
    store.write(RUN, [(MIDNIGHT + 10 * number, interval(1)) for number in range(30)])
    later = MIDNIGHT + 30 * DAY
    store.tend(later)
    store.write(RUN, [(later, interval(1))])
    until = later + DAY
    for step in (10, 60, 3600):  # longer where nothing so fine is kept
        found = slices(path, step=step, until=until)
        assert [(each.end - each.start, each.outcomes["ok"]) for each in found] == [
            (max(step, 3600), 30),
            (max(step, 3600), 1),
        ]
    assert [each.outcomes["ok"] for each in slices(path, until=until)] == [30, 1]
    assert [each.start for each in slices(path, step=10, since=later, until=until)] == [later]


def test_a_clock_that_is_far_ahead_costs_no_count(path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT, interval(5))])
    store.tend(MIDNIGHT + 100 * 365 * DAY)
    assert [each.outcomes["ok"] for each in slices(path)] == [5]


def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(
    path: Path, store: Store
) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    with closing(FileAnswers(path)) as answers:
        path.unlink()
        found = list(answers.slices(since=MIDNIGHT, until=MIDNIGHT + 10, step=10))
    assert found


def test_one_period_for_the_whole(path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT + hour * 3600, interval(1)) for hour in range(48)])
    (whole,) = slices(path, step=1e9)
    assert (whole.outcomes["ok"], whole.end) == (48, MIDNIGHT + 2 * DAY)
    (part,) = slices(path, step=1e9, since=MIDNIGHT + 3600, until=MIDNIGHT + 7200)
    assert part.outcomes["ok"] == 1


def test_services_versions_and_instances_stand_apart(path: Path, store: Store) -> None:
    runs = [RUN, Run("shop", "1.0", "two"), Run("shop", "1.1", "three"), Run("bank", "", "four")]
    for number, run in enumerate(runs):
        store.write(run, [(MIDNIGHT + 10 * number, interval(number))])
    with closing(FileAnswers(path)) as answers:
        assert answers.services() == ["bank", "shop"]
        seen = [(each.version, each.first_seen - MIDNIGHT) for each in answers.versions("shop")]
    assert seen == [("1.0", 0), ("1.1", 20)]

    def counted(by: By, service: str | None = None) -> dict[tuple[str, str, str], int]:
        return {
            (each.service, each.version, each.instance): each.outcomes["ok"]
            for each in slices(path, by=by, service=service)
        }

    assert counted("none") == {("shop", "", ""): 3, ("bank", "", ""): 3}
    assert counted("version", "shop") == {("shop", "1.0", ""): 1, ("shop", "1.1", ""): 2}
    assert counted("instance")["shop", "1.0", "two"] == 1


def test_the_file_stays_within_its_size_and_keeps_the_days(path: Path) -> None:
    numbers = random.Random(3)
    with closing(Store(path, MEGABYTE // 5)) as store:
        for number in range(100):
            names = (f"tool {name}" for name in range(30))
            tallies = {Subject("tool", name, "mcp"): Tally({"ok": 30}) for name in names}
            for tally in tallies.values():
                tally.sketch().add([numbers.lognormvariate(-2, 1) for _ in range(30)])
            start = MIDNIGHT + number * 3600
            store.write(RUN, [(start, tallies)])
            if number % 10 == 0:
                store.tend(start)
        store.tend(MIDNIGHT + 10 * DAY)
        assert store.bytes_used() <= MEGABYTE // 5
    assert path.stat().st_size < MEGABYTE // 2
    found = slices(path, until=MIDNIGHT + 10 * DAY, name="tool 1")
    assert sum(each.calls for each in found) == 100 * 30


def test_of_days_that_are_too_large_the_oldest_go_and_the_others_stay(path: Path) -> None:
    """A few large rows are enough, where hundreds of them are all that there is."""
    numbers = random.Random(3)
    with closing(Store(path, 100 * MEGABYTE)) as store:
        for number in range(60):
            tallies = {Subject("tool", f"tool {name}", "mcp"): Tally() for name in range(30)}
            for tally in tallies.values():
                tally.sketch().add([numbers.lognormvariate(-2, 1) for _ in range(60)])
            store.write(RUN, [(MIDNIGHT + number * DAY, tallies)])
        for _ in range(3):
            store.tend(MIDNIGHT + 1000 * DAY)
        used = store.bytes_used()
    with closing(Store(path, int(used * 0.8))) as store:
        store.tend(MIDNIGHT + 1000 * DAY)
        assert used * 0.65 < store.bytes_used() <= used * 0.8
    days = "SELECT start FROM chunk WHERE tier = 86400 ORDER BY start"
    with closing(sqlite3.connect(path)) as connection:
        left = [start for (start,) in connection.execute(days)]
    assert 35 <= len(left) < 60
    assert left == [MIDNIGHT + number * DAY for number in range(60 - len(left), 60)]


def test_what_fails_to_be_written_is_written_whole_the_next_time(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_append", fail)
        with pytest.raises(HistoryError):
            store.write(RUN, [(MIDNIGHT, interval(1))])
    store.write(RUN, [(MIDNIGHT, interval(1))])
    (found,) = slices(path)
    assert found.outcomes == {"ok": 1, "exception": 1}
    last = "SELECT first, last FROM run"
    assert store._connection.execute(last).fetchall() == [(MIDNIGHT, MIDNIGHT + TIERS[0])]


def test_a_store_waits_as_long_as_it_is_told_and_is_closed(path: Path) -> None:
    store = Store(path, MEGABYTE)
    store.wait_at_most(0.25)
    assert store._connection.execute("PRAGMA busy_timeout").fetchone() == (250,)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        store._connection.execute("SELECT 1")
