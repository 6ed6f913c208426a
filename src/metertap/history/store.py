"""Writing to the file: intervals, roll-ups into longer ones, and keeping it within its size."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby, islice, pairwise
from math import inf
from pathlib import Path
from typing import NamedTuple

from metertap import faults
from metertap.descriptors import Witness
from metertap.history import forks
from metertap.history.answers import Subject
from metertap.history.database import (
    KEPT_SECONDS,
    TIERS,
    open_to_write,
    rolled_mark,
    told,
    transaction,
)
from metertap.history.tally import Tally, decode, encode
from metertap.unmocked import os

_LATE_SECONDS = 30
"""Seconds to wait after a period before it is merged: other processes may still write to it."""
_MOST_MERGED = 100
"""The most periods of one tier that are merged at a time; the rest waits for the next time."""
_MOST_DELETED = 500
_FREED = 0.9
"""The share of the size limit to which a full file is reduced."""

_RUN = (
    "INSERT OR IGNORE INTO run (service, version, instance) VALUES (?, ?, ?)",
    "SELECT id FROM run WHERE service = ? AND version = ? AND instance = ?",
)
_SERIES = (
    "INSERT OR IGNORE INTO series (kind, name, source) VALUES (?, ?, ?)",
    "SELECT id FROM series WHERE kind = ? AND name = ? AND source = ?",
)


class Run(NamedTuple):
    """One process of one version of a service."""

    service: str
    version: str
    instance: str


class Store:
    """One connection that writes. For one thread at a time; methods raise HistoryError."""

    def __init__(self, path: Path, most_bytes: int, busy_seconds: float = 5.0) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._witness = Witness()
        try:
            self._connection = open_to_write(path, busy_seconds)
        except BaseException:
            self._witness.close()
            raise
        self._file = _identity(path)
        self._ids: dict[tuple[tuple[str, str], tuple[str, ...]], int] = {}

    def close(self) -> None:
        """Close the file; if the program has closed its descriptors, keep it open for ever."""
        if self._witness.is_there():
            self._connection.close()
            self._witness.close()
        else:
            forks.lose(self._path, self._connection)

    def is_lost(self) -> bool:
        """Return whether the program has closed the descriptors, whose numbers may be its own."""
        return not self._witness.is_there()

    def is_moved(self) -> bool:
        """Return whether the file was deleted or replaced, so that writes are lost."""
        return _identity(self._path) != self._file

    def wait_at_most(self, seconds: float) -> None:
        """Wait no longer than that, from now on, for another process that writes."""
        self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def write(self, run: Run, intervals: Sequence[tuple[int, Mapping[Subject, Tally]]]) -> None:
        """Write intervals, each with its start in Unix seconds: all of them or none."""
        with told(self._path):
            try:
                with transaction(self._connection):
                    number = self._id(_RUN, run)
                    for start, tallies in intervals:
                        numbered = {
                            self._id(_SERIES, (subject.kind, subject.name, subject.source)): tally
                            for subject, tally in tallies.items()
                        }
                        self._append(TIERS[0], start, number, numbered)
                        self._connection.execute(
                            "UPDATE run SET first = min(ifnull(first, :start), :start), "
                            "last = max(ifnull(last, 0), :end) WHERE id = :run",
                            {"start": start, "end": start + TIERS[0], "run": number},
                        )
            except BaseException:
                self._ids.clear()  # they may be of rows that were not written
                raise

    def tend(self, now: float) -> None:
        """Merge intervals whose longer period is over, and delete what is too old or too much."""
        with told(self._path):
            for tier, longer in pairwise(TIERS):
                self._roll_up(tier, longer, now)
            for tier, kept in zip(TIERS, KEPT_SECONDS, strict=False):
                # Rows of the last tier are never too old, so that a clock that is wrong for a while
                # costs only detail.
                self._delete(tier, before=now - kept)
            self._shrink()

    def bytes_used(self) -> int:
        """Return how much of the file is in use."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _id(self, statements: tuple[str, str], values: tuple[str, ...]) -> int:
        """Return the number of `values` in the file, assigned if they are new."""
        found = self._ids.get((statements, values))
        if found is None:
            insert, select = statements
            self._connection.execute(insert, values)
            found = int(self._connection.execute(select, values).fetchone()[0])
            self._ids[statements, values] = found
        return found

    def _append(self, tier: int, start: int, run: int, tallies: Mapping[int, Tally]) -> None:
        self._connection.execute(
            "INSERT INTO chunk (tier, start, run, rolled, data) VALUES (?, ?, ?, 0, ?)",
            (tier, start, run, encode(tallies)),
        )

    def _roll_up(self, tier: int, longer: int, now: float) -> None:
        """Merge rows of `tier` whose period of `longer` seconds is over."""
        until = int((now - _LATE_SECONDS) // longer * longer)
        rows = self._connection.execute(
            "SELECT start / ? * ? AS period, run, id FROM chunk INDEXED BY chunk_waiting "
            "WHERE tier = ? AND NOT rolled AND start < ? ORDER BY period, run",
            (longer, longer, tier, until),
        ).fetchall()
        groups = groupby(rows, key=lambda row: row[:2])
        for (start, run), group in islice(groups, _MOST_MERGED):
            self._merge(tier, longer, start, run, [row[2] for row in group])

    def _merge(self, tier: int, longer: int, start: int, run: int, ids: Sequence[int]) -> None:
        """Merge rows into one, unless another process does it first.

        Others may write while the sketches are merged. Late rows of a period stay beside the merged
        one. A damaged row is left out, and goes with its tier: else no row would, for ever.
        """
        listed = json.dumps(ids)
        tallies: dict[int, Tally] = defaultdict(Tally)
        for (data,) in self._connection.execute(
            "SELECT data FROM chunk WHERE id IN (SELECT value FROM json_each(?))", (listed,)
        ):
            try:
                found = [*decode(data)]
            except (ValueError, zlib.error) as error:
                faults.warn_once(
                    "history.row", "%s: a damaged row is left out (%s)", self._path, error
                )
                continue
            for series, tally in found:
                tallies[series].merge(tally)
        with transaction(self._connection):
            marked = self._connection.execute(
                "UPDATE chunk SET rolled = ? "
                "WHERE NOT rolled AND id IN (SELECT value FROM json_each(?))",
                (rolled_mark(tier), listed),
            )
            if marked.rowcount == len(ids):
                self._append(longer, start, run, tallies)
            else:
                self._connection.execute("ROLLBACK")

    def _delete(
        self, tier: int, *, before: float = inf, most_bytes: float = inf, anyway: bool = False
    ) -> int:
        """Delete the oldest rows of a tier, and return their number.

        They are the fewest that hold `most_bytes`. Rows that are not part of a longer one stay,
        except `anyway`.
        """
        with transaction(self._connection):
            rows = self._connection.execute(
                "SELECT id, length(data) FROM chunk "
                "WHERE tier = ? AND (rolled OR ?) AND start < ? ORDER BY start LIMIT ?",
                (tier, anyway, before, _MOST_DELETED),
            ).fetchall()
            older = accumulate((size for _, size in rows), initial=0)
            ids = [row[0] for row, size in zip(rows, older, strict=False) if size < most_bytes]
            return self._connection.execute(
                "DELETE FROM chunk WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(ids),),
            ).rowcount

    def _shrink(self) -> None:
        """Delete the oldest rows of an oversized file, the finest first."""
        if self.bytes_used() <= self._most_bytes:
            return
        for tier in TIERS:
            while (excess := self.bytes_used() - int(self._most_bytes * _FREED)) > 0:
                # Half of it, since a row takes whole pages, which are larger than its data.
                if not self._delete(tier, most_bytes=excess / 2, anyway=tier == TIERS[-1]):
                    break


def _identity(path: Path) -> tuple[int, int] | None:
    """Return an identity of the file, which differs for a later file. None without one."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino
