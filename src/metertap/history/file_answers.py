"""Answers from a history file."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from metertap.history.answers import KINDS, By, HistoryError, Kind, Slice, Subject, Version
from metertap.history.database import QUARTER, TIERS, Steps, open_to_read, rows_between, told
from metertap.history.store import Run
from metertap.history.tally import Tally, decompress, tallies

_FEWEST_PERIODS = 20
"""The fewest rows of an answer: its first period may begin that much too early."""
_MOST_TIMES = 700
"""The most bytes of decompressed rows for each byte of the file: ours have less than 500."""
_MORE_BYTES = 64 * 2**20
"""The bytes of decompressed rows that an answer may read in addition."""
_OF_LINES = 10
"""For how many bytes one of JSON counts, which takes that much longer."""


class FileAnswers:
    """Answers from a file that may be written at the same time."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises HistoryError."""
        self._path = path
        self._steps = Steps()
        self._connection = open_to_read(path, self._steps)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def services(self) -> list[str]:
        """List the services by name."""
        with self._readable():
            rows = self._connection.execute("SELECT DISTINCT service FROM run ORDER BY service")
            return [service for (service,) in _texts(rows, 1)]

    def versions(self, service: str | None = None) -> list[Version]:
        """List the versions of one service, or of all, first seen first."""
        with self._readable():
            rows = self._connection.execute(
                "SELECT service, version, min(first) AS seen, max(last) FROM run "
                "WHERE first BETWEEN 0 AND 1e11 AND last BETWEEN 0 AND 1e11 "
                "AND (:service IS NULL OR service = :service) "
                "GROUP BY service, version ORDER BY seen",
                {"service": service},
            )
            return [Version(*row) for row in _texts(rows, 2)]

    def slices(
        self,
        *,
        since: float,
        until: float,
        step: float,
        service: str | None = None,
        kinds: Collection[Kind] = KINDS,
        name: str | None = None,
        by: By = "none",
    ) -> Iterator[Slice]:
        """Yield the measurements, as `Answers` describes."""
        with self._readable():
            runs = self._runs(service, by)
            subjects = self._subjects(kinds, name)
            tier = self._tier(since, until, step)
            is_whole = step >= until - since
            length = -(-step // tier) * tier
            grain = tier if is_whole else length
            first = since // grain * grain

            def period(row: tuple[int, int, bytes]) -> float:
                return first if is_whole else row[0] // length * length

            # Rows of a foreign file may stand for a thousand times as many bytes, and all of them
            # for the same ones: reading them would take days.
            left = self._size() * _MOST_TIMES + _MORE_BYTES
            found_rows = rows_between(self._connection, tier, first, until)
            for start, rows in groupby(found_rows, key=period):
                found: dict[tuple[Run, int], Tally] = {}
                for _, number, data in rows:
                    run = runs.get(number)
                    if run is not None:
                        whole = decompress(data)
                        left -= len(whole) + (_OF_LINES - 1) * len(whole.partition(b"\n")[0])
                        if left < 0:
                            raise ValueError("its rows are longer than any of ours")
                        for series, tally in tallies(whole, subjects):
                            known = found.setdefault((run, series), tally)
                            if known is not tally:
                                known.merge(tally)
                end = until if is_whole else start + length
                for (run, series), tally in found.items():
                    of = (subjects[series], *run, start, end)
                    yield Slice(*of, *tally.parts())

    def _size(self) -> int:
        """Return the bytes of the file, and of its newest rows, which SQLite keeps beside it."""
        size = 0
        for path in (self._path, Path(f"{self._path}-wal")):
            with suppress(FileNotFoundError):  # it may be removed while it is read
                size += path.stat().st_size
        return size

    def _tier(self, since: float, until: float, step: float) -> int:
        """Return the longest tier that divides the periods, or one that reaches back to `since`.

        Rows of the finer tiers are deleted sooner.
        """
        is_whole = step >= until - since
        fits = [
            tier
            for tier in TIERS
            if (
                # Quarters would only begin the whole time earlier than hours do.
                tier != QUARTER and tier * _FEWEST_PERIODS <= until - since
                if is_whole
                else step % tier == 0
            )
        ]
        tier = max(fits, default=TIERS[0])
        oldest = [
            self._connection.execute(
                "SELECT min(start) FROM chunk WHERE tier = ? AND start > ? AND start < 1e11",
                (each, since - each),
            ).fetchone()[0]
            for each in TIERS
        ]
        at = TIERS.index(tier)
        if tier == QUARTER:  # hours of older files are part of no quarter
            known = [start for start in oldest[at - 1 : at + 1] if start is not None]
            oldest[at] = min(known, default=None)
        for longer, start in zip(TIERS[at + 1 :], oldest[at + 1 :], strict=True):
            known = oldest[at]
            if start is not None and (known is None or start + longer <= known):
                at = TIERS.index(longer)
        return TIERS[at]

    def _runs(self, service: str | None, by: By) -> dict[int, Run]:
        """Return the separated attributes of each process, by the number of the process."""
        rows = self._connection.execute("SELECT service, version, instance, id FROM run")
        return {
            number: Run(of, version if by != "none" else "", instance if by == "instance" else "")
            for of, version, instance, number in _texts(rows, 3)
            if service in (None, of)
        }

    def _subjects(self, kinds: Collection[Kind], name: str | None) -> dict[int, Subject]:
        rows = self._connection.execute("SELECT kind, name, source, id FROM series")
        return {
            number: Subject(*names)
            for *names, number in _texts(rows, 3)
            if names[0] in kinds and name in (None, names[1])
        }

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Raise errors of the file as a HistoryError."""
        self._steps.begin()
        with told(self._path):
            try:
                yield
            except (ValueError, zlib.error) as error:
                raise HistoryError(f"{self._path}: it is damaged ({error})") from error


def _texts(rows: Iterable[tuple[Any, ...]], count: int) -> Iterator[tuple[Any, ...]]:
    """Yield rows whose first columns are texts; SQLite stores values of any type."""
    for row in rows:
        if not all(isinstance(value, str) for value in row[:count]):
            raise ValueError("a name is no text")
        yield row
