"""The file of a history, where somebody else has been at it: told, and never harmful."""

from __future__ import annotations

import math
import os
import sqlite3
import struct
import tracemalloc
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from metertap.history import database, file_answers
from metertap.history.answers import HistoryError, Subject
from metertap.history.file_answers import FileAnswers
from metertap.history.sketch import Sketch
from metertap.history.store import Store
from metertap.history.tally import Tally
from support.stored_history import MEGABYTE, MIDNIGHT, RUN, interval, slices
from support.warned import warnings_of


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


def test_a_damaged_row_keeps_no_other_from_becoming_part_of_a_longer_one(
    path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def calls(step: float) -> int:
        return sum(sum(one.outcomes.values()) for one in slices(path, step=step))

    store.write(RUN, [(MIDNIGHT + 10 * number, interval(1)) for number in range(3)])
    before = calls(10.0)
    with closing(sqlite3.connect(path)) as broken:
        broken.execute("UPDATE chunk SET data = x'00' WHERE id = 2")
        broken.commit()
    store.tend(MIDNIGHT + 3600)
    assert str(path) in "".join(warnings_of(caplog))
    assert 3 * calls(60.0) == 2 * before > 0
    store.tend(MIDNIGHT + 3 * 86_400)
    assert calls(10.0) == calls(60.0)  # the damaged row is gone


def test_a_damaged_schema_is_told(path: Path, store: Store) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    store.close()
    with closing(sqlite3.connect(path)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes().replace(b"tablerunrun", b"tabler\xd6nrun", 1)
    path.write_bytes(content)
    for use in (lambda: Store(path, MEGABYTE), lambda: FileAnswers(path)):
        with pytest.raises(HistoryError, match=f"{path}: it is damaged"):
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


@pytest.mark.parametrize("extremes", [(-1.0, -2.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
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


def test_rows_without_end_are_not_waited_for(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    with closing(sqlite3.connect(path)) as theirs:
        names = ((f"tool {number}",) for number in range(5000))
        theirs.executemany("INSERT INTO series (kind, name, source) VALUES ('tool', ?, '')", names)
        theirs.commit()
    assert len(slices(path)) == 1
    monkeypatch.setattr(database, "_MOST_STEPS", 1000)
    monkeypatch.setattr(database, "_AT_A_TIME", 100)
    with pytest.raises(HistoryError, match="its rows do not end"):
        slices(path)


LONG_LINES = b"[[1,0,{%s}]]\n" % b",".join([b'"ok":1'] * 10**6)
LONG_REST = b"[]\n" + b"0" * 2**25


@pytest.mark.parametrize("one", [LONG_LINES, LONG_REST], ids=["lines", "rest"])
def test_rows_that_stand_for_far_more_than_the_file_are_not_all_read(
    one: bytes, path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_answers, "_MORE_BYTES", 2**20)
    # The most that rows of ours stand for: the same two latencies, far apart, of each tool.
    ours = Tally({"ok": 2})
    ours.sketch().add([2e-6, 1e5])
    tools = {Subject("tool", f"t{number}", "mcp"): ours for number in range(2000)}
    for number in range(10):
        store.write(RUN, [(MIDNIGHT + 10 * number, tools)])
    store.close()  # nothing is beside the file then
    assert len(slices(path, name=None)) == 2000
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE chunk SET data = ?", (zlib.compress(one, 9),))
        connection.commit()
    with pytest.raises(HistoryError, match="its rows are longer than any of ours"):
        slices(path, name=None)


def test_data_that_is_longer_than_any_of_ours_is_not_read(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(RUN, [(MIDNIGHT, interval(1))])
    monkeypatch.setattr(database, "_MOST_BYTES", 10)
    with pytest.raises(HistoryError, match="a row has no bytes"):
        slices(path)


def test_the_file_is_this_users_alone(path: Path) -> None:
    path.touch(0o644)
    with closing(Store(path, MEGABYTE)) as store:
        store.write(RUN, [(MIDNIGHT, interval(1))])
        for each in path.parent.glob("history.db*"):
            assert each.stat().st_mode & 0o777 == 0o600, each


@pytest.mark.parametrize("umask", [0, 0o777])
def test_a_new_file_is_this_users_whatever_the_umask(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with closing(Store(path, MEGABYTE)) as store:
            store.write(RUN, [(MIDNIGHT, interval(1))])
            for each in path.parent.glob("history.db*"):
                assert each.stat().st_mode & 0o777 == 0o600, each
    finally:
        os.umask(before)


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
