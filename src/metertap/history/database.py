"""The file of a history: an SQLite database that belongs to this user, and its contents.

Each interval of each process is a row of `chunk` with all series, so that a write is one short
append. Every row belongs to a tier: intervals of ten seconds, or the longer ones into which they
were merged. `rolled` says that a row is part of a row of the next tier as well; see `rolled_mark`.
"""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metertap.faults import shown
from metertap.history.answers import HistoryError
from metertap.unmocked import os

_DAY = 86_400
HOUR, QUARTER = 3600, 21_600
TIERS = (10, 60, HOUR, QUARTER, _DAY)
"""Seconds of a period, the finest first: each divides the next."""
KEPT_SECONDS = (_DAY, 14 * _DAY, 400 * _DAY, 400 * _DAY)
"""The seconds for which rows of each tier but the last stay after they were merged."""

LAYOUT = 1
"""The version of the tables. A program that knows only older versions leaves the file alone."""
_APPLICATION = 0x6D746170
"""The mark in the header of a file of ours: `mtap`."""
_TABLES = f"""
CREATE TABLE run (
  id INTEGER PRIMARY KEY, service TEXT, version TEXT, instance TEXT, first REAL, last REAL,
  UNIQUE (service, version, instance));
CREATE TABLE series (
  id INTEGER PRIMARY KEY, kind TEXT, name TEXT, source TEXT, UNIQUE (kind, name, source));
CREATE TABLE chunk (
  id INTEGER PRIMARY KEY, tier INTEGER, start INTEGER, run INTEGER, rolled INTEGER, data BLOB);
CREATE INDEX chunk_start ON chunk (tier, start);
CREATE INDEX chunk_waiting ON chunk (tier, start) WHERE NOT rolled;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {LAYOUT};
"""
_OF_A_DAY = 1
"""The mark of an hour that is part of a day but of no quarter, as older versions wrote it."""
_WAL_BYTES = 4 * 2**20
_MOST_STEPS = 50_000_000
"""The most steps of SQLite for one answer, half a minute. Of a row it takes some ten."""
_AT_A_TIME = 1_000_000
_MOST_BYTES = 64 * 2**20
"""The most bytes of a row's data: ours have far less."""
_BESIDE = ("-wal", "-shm", "-journal")
"""The suffixes of SQLite's own files, which contain the same data."""


def open_to_write(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open the file; made if need be. Raises HistoryError if it cannot be written."""
    with told(path):
        _make_private(path)
        connection = sqlite3.connect(
            path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            if not _is_ours(connection):
                with transaction(connection):
                    if not _is_ours(connection):  # another process may have made the tables first
                        for statement in _statements():
                            connection.execute(statement)
            # With it readers do not wait for writers, and a crash leaves what was committed.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            _check_beside(path)  # another user may have put them there meanwhile
        except BaseException:
            connection.close()
            raise
        return connection


class Steps:
    """Ends an answer that takes more steps than any from a file of ours.

    Pages of a damaged or foreign file may lead to the same page again and again: such rows never
    end.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin to count for another answer."""
        self._left = _MOST_STEPS

    def __call__(self) -> bool:
        """Say whether to end, as SQLite asks now and then."""
        self._left -= _AT_A_TIME
        return self._left < 0


def open_to_read(path: Path, steps: Steps, busy_seconds: float = 2.0) -> sqlite3.Connection:
    """Open the file without changing it. Raises HistoryError if it cannot be read."""
    with told(path):
        if not path.exists():
            raise HistoryError(f"{shown(path, str)}: there is no such file")
        for each in (path, *(Path(f"{path}{ending}") for ending in _BESIDE)):
            if each.exists() and not each.is_file():  # opening a pipe would wait
                raise HistoryError(f"{shown(each, str)}: it is no regular file")
        connection = None
        # Next to a copy in a folder that cannot be written, SQLite has no place for its own files.
        for how in ("mode=ro", "immutable=1"):
            try:
                connection = sqlite3.connect(
                    f"{path.absolute().as_uri()}?{how}",
                    uri=True,
                    timeout=busy_seconds,
                    isolation_level=None,
                    check_same_thread=False,
                )
                connection.set_progress_handler(steps, _AT_A_TIME)
                if not _is_ours(connection):
                    raise HistoryError(f"{path}: nothing was written to it yet")
            except sqlite3.OperationalError:
                if connection is not None:
                    connection.close()
                if how != "mode=ro" or os.access(path.parent, os.W_OK):
                    raise
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
            else:
                return connection
        raise AssertionError("unreachable")


def rolled_mark(tier: int) -> int:
    """Return the mark of a row that is part of a row of the next tier; never 0."""
    return _OF_A_DAY + 1 if tier == HOUR else 1


def rows_between(
    connection: sqlite3.Connection, tier: int, first: float, until: float
) -> Iterator[tuple[int, int, bytes]]:
    """Return start, run and data of a tier's rows, and of finer ones that are no part of it yet."""
    return connection.execute(
        "SELECT start, run, CASE WHEN length(data) <= ?7 THEN data END FROM chunk "
        "WHERE tier = ?1 AND start >= ?2 AND start < ?3 "
        "UNION ALL SELECT start, run, CASE WHEN length(data) <= ?7 THEN data END FROM chunk "
        "WHERE tier < ?1 AND NOT rolled AND start >= ?2 AND start < ?3 "
        "UNION ALL SELECT start, run, CASE WHEN length(data) <= ?7 THEN data END FROM chunk "
        "WHERE ?4 AND tier = ?5 AND rolled = ?6 AND start >= ?2 AND start < ?3 ORDER BY start",
        (tier, first, until, tier == QUARTER, HOUR, _OF_A_DAY, _MOST_BYTES),
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all of a block or nothing, alone among the processes that write.

    A block that rolls back itself does nothing.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if connection.in_transaction:
            connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an error of the file into a HistoryError that names it."""
    try:
        yield
    except (OSError, UnicodeError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, UnicodeError):  # SQLite quotes a name of a damaged file
            why = "it is damaged"
        if why == "interrupted":  # by `Steps`
            why = "it is damaged (its rows do not end)"
        if isinstance(error, FileNotFoundError):  # else sqlite3 would have made the file
            why = f"there is no folder {shown(path.parent, str)}"
        raise HistoryError(f"{shown(path, str)}: {why}") from error


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Return whether our tables exist; raise HistoryError if there are others."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION:
        if application or layout or tables:
            raise HistoryError("it is another program's database")
        return False
    if layout > LAYOUT:
        raise HistoryError(f"a newer metertap wrote it (layout {layout}; this one knows {LAYOUT})")
    made = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if {text for (text,) in made} != set(_statements("CREATE")):
        # It may be a hostile file: views, triggers and columns can compute without end.
        raise HistoryError("it has other tables than ours in it")
    return True


def _statements(begin: str = "") -> Iterator[str]:
    for statement in map(str.strip, _TABLES.split(";")):
        if statement and statement.startswith(begin):
            yield statement


def _make_private(path: Path) -> None:
    """Create the file readable for this user alone, or check that it is.

    An existing file is not opened here: closing it would release the locks that SQLite holds.
    """
    _check_beside(path)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(handle, 0o600)  # the program's umask may keep even its own user out
        finally:
            os.close(handle)
    except FileExistsError:
        found = _check_owner(path)
        if hasattr(os, "getuid") and stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o600)


def _check_beside(path: Path) -> None:
    """Check that SQLite's own files belong to this user, if they exist.

    In a folder that others can write, somebody may have created them to read the data, or to have
    it written elsewhere.
    """
    for ending in _BESIDE:
        with suppress(FileNotFoundError):
            _check_owner(Path(f"{path}{ending}"))


def _check_owner(path: Path) -> os.stat_result:
    found = os.lstat(path)  # not stat, which would follow a link that somebody put there
    if not stat.S_ISREG(found.st_mode):
        raise HistoryError(f"{shown(path, str)}: it is no regular file")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise HistoryError(f"{shown(path, str)}: it belongs to another user")
    return found
