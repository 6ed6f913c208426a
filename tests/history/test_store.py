"""The file of a history: what goes in comes out, merged, thinned and within its size."""

from __future__ import annotations

import math
import os
import random
import sqlite3
import struct
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metertap.history.answers import By, HistoryError, Slice, Subject
from metertap.history.database import TIERS
from metertap.history.file_answers import FileAnswers
from metertap.history.sketch import Sketch
from metertap.history.store import Run, Store
from metertap.history.tally import Tally

SEARCH = Subject("tool", "search", "mcp")
PRICES = Subject("cache", "prices", "cachetools")
RUN = Run("shop", "1.0", "one")
DAY = 86_400
MIDNIGHT = 20_000 * DAY
MEGABYTE = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path, 100 * MEGABYTE)) as store:
        yield store


def interval(calls: int, seconds: float = 0.1) -> dict[Subject, Tally]:
    tool = Tally({"ok": calls, "exception": 1}, {"ValueError": 1}, extra={"tokens": 2.5})
    tool.sketch().add([seconds] * (calls + 1))
    return {SEARCH: tool, PRICES: Tally(hits=3, misses=1)}


def slices(
    path: Path,
    step: float = DAY,
    since: float = MIDNIGHT,
    until: float = MIDNIGHT + 2 * DAY,
    by: By = "none",
    name: str | None = "search",
    service: str | None = None,
) -> list[Slice]:
    with closing(FileAnswers(path)) as answers:
        return list(
            answers.slices(since=since, until=until, step=step, by=by, name=name, service=service)
        )


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


@pytest.mark.parametrize("step", [60, 600, 3600, DAY, 2 * DAY, 30 * DAY])
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


def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE theirs (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(HistoryError, match="another program's database"):
        Store(path, MEGABYTE)
    with pytest.raises(HistoryError, match="another program's database"):
        FileAnswers(path)
    assert path.read_bytes() == before


def test_a_file_of_a_newer_metertap_is_left_alone(path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    store.close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    for use in (lambda: Store(path, MEGABYTE), lambda: FileAnswers(path)):
        with pytest.raises(HistoryError, match="newer metertap wrote it"):
            use()


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_corrupt_file_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for use in (lambda: Store(path, MEGABYTE), lambda: FileAnswers(path)):
        with pytest.raises(HistoryError, match="database"):
            use()
    assert path.read_bytes() == content


def test_a_damaged_row_is_told(path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    with closing(sqlite3.connect(path)) as broken:
        broken.execute("UPDATE chunk SET data = x'00'")
        broken.commit()
    with pytest.raises(HistoryError, match="it is damaged"):
        slices(path)


WRONG = {
    "a bomb": b"1" * 2**27,
    "no lines": b"7\n",
    "lines of text": b'["x", "y"]\n',
    "no numbers": b'[["a", 0]]\n',
    "counts of text": b'[[1, 0, {"ok": "many"}]]\n',
    "counts by no name": b"[[1, 0, 5]]\n",
    "hits by name": b'[[1, 0, {}, {}, {"a": 1}]]\n',
    "no number": b'[[1, 0, {"ok": NaN}]]\n',
    "beyond all numbers": b'[[1, 0, {"ok": 1e999}]]\n',
    "a length of none": b"[[1, -1]]\n",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("what", WRONG)
def test_a_row_that_somebody_else_wrote_is_told_and_takes_bounded_memory(
    what: str, path: Path, store: Store
) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE chunk SET data = ?", (zlib.compress(WRONG[what], 9),))
        connection.commit()
    tracemalloc.start()
    try:
        with pytest.raises(HistoryError, match="it is damaged"):
            slices(path)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * 2**26
    finally:
        tracemalloc.stop()


CELLS = {
    "a row that is no bytes": "UPDATE chunk SET data = 5",
    "a row that is a text": "UPDATE chunk SET data = 'x'",
    "a service that is no text": "UPDATE run SET service = x'ff'",
    "a service that is none": "UPDATE run SET service = NULL",
    "a version that is a number": "UPDATE run SET version = x'31'",
    "a name that is no text": "UPDATE series SET name = x'61'",
}


@pytest.mark.parametrize("what", CELLS)
def test_a_cell_of_another_type_is_told(what: str, path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(CELLS[what])
        connection.commit()
    with pytest.raises(HistoryError, match="it is damaged"):
        slices(path, by="version")


@pytest.mark.parametrize("moment", ["9e999", "-1", "'9999999999x'", "x'00'", "NULL"])
def test_a_time_that_is_none_is_left_out(moment: str, path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE run SET first = {moment}")  # of this file
        connection.execute(f"UPDATE chunk SET start = {moment}")  # of this file
        connection.commit()
    assert list(slices(path)) == []
    with closing(FileAnswers(path)) as answers:
        assert answers.versions() == []


@pytest.mark.parametrize("extremes", [(-1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_latencies_that_cannot_be_are_told(extremes: tuple[float, float]) -> None:
    sketch = Sketch()
    sketch.add([0.5])
    packed = sketch.pack()
    with pytest.raises(ValueError, match="no sketch"):
        Sketch.unpack(packed[:4] + struct.pack("<ff", *extremes) + packed[12:])


def test_a_file_that_computes_is_not_asked(path: Path) -> None:
    Store(path, 10**6).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE series")
        connection.execute(
            "CREATE VIEW series AS WITH RECURSIVE n(id) AS "
            "(SELECT 1 UNION ALL SELECT id + 1 FROM n) "
            "SELECT id, 'tool' AS kind, 'a' AS name, 's' AS source FROM n"
        )
        connection.commit()
    with pytest.raises(HistoryError, match="other tables than ours"):
        slices(path)


def test_a_column_that_computes_is_not_asked(path: Path) -> None:
    Store(path, 10**6).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE run")
        connection.execute(
            "CREATE TABLE run (id INTEGER PRIMARY KEY, version TEXT, instance TEXT, first REAL, "
            "last REAL, service TEXT AS (hex(zeroblob(400000000))))"
        )
        connection.execute("INSERT INTO run (id) VALUES (1)")
        connection.commit()
    with pytest.raises(HistoryError, match="other tables than ours"):
        slices(path)


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("what", ["a link", "a pipe"])
def test_what_somebody_put_beside_the_file_is_not_written_to(
    what: str, ending: str, path: Path, tmp_path: Path
) -> None:
    beside, other = path.with_name(path.name + ending), tmp_path / "other"
    other.write_bytes(b"mine")
    if what == "a link":
        beside.symlink_to(other)
    else:
        os.mkfifo(beside)
    with pytest.raises(HistoryError, match=f"{ending}: it is no regular file"):
        Store(path, 10**6)
    assert other.read_bytes() == b"mine"
    assert not path.exists()


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    for use in (lambda: FileAnswers(path), lambda: Store(path, 10**6)):
        with pytest.raises(HistoryError, match="it is no regular file"):
            use()


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_a_pipe_beside_the_file_is_not_waited_for(ending: str, path: Path) -> None:
    Store(path, MEGABYTE).close()
    os.mkfifo(path.with_name(path.name + ending))
    with pytest.raises(HistoryError, match=f"{ending}: it is no regular file"):
        FileAnswers(path)


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


def test_the_file_is_this_users_alone(path: Path) -> None:
    path.touch(0o644)
    with closing(Store(path, MEGABYTE)) as store:
        store.write(RUN, [(MIDNIGHT, interval(1))])
        for each in path.parent.glob("history.db*"):
            assert each.stat().st_mode & 0o777 == 0o600, each


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HistoryError, match="no regular file"):
        Store(path, MEGABYTE)


@pytest.mark.parametrize("name", ["/", "//"])
def test_the_root_of_the_file_system_is_no_history(name: str) -> None:
    for use in (FileAnswers, lambda path: Store(path, MEGABYTE)):
        with pytest.raises(HistoryError, match="no regular file"):
            use(Path(name))


def test_a_missing_or_empty_file_has_no_answers(path: Path) -> None:
    with pytest.raises(HistoryError, match="there is no such file"):
        FileAnswers(path)
    path.touch()
    with pytest.raises(HistoryError, match="nothing was written"):
        FileAnswers(path)
