"""The totals of ended workers, and the file in which the holder of the port keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from metertap import faults
from metertap.unmocked import unmocked
from metertap.workers import records
from metertap.workers.checking import Malformed
from metertap.workers.members import Files, Member, identity, raise_exhausted, remove
from metertap.workers.records import MOST_BYTES, Record
from metertap.workers.sections import Section

_MOST_ABSORBED = 64
"""The most ended workers that stay known: their files may come back for a while."""


class Past:
    """The totals of all ended workers of one service. For one thread at a time."""

    def __init__(self, files: Files, sections: Mapping[str, Section], first: Member) -> None:
        self.record = Record()
        self._files = files
        self._sections = sections
        self._first = first
        self._is_written = True

    @property
    def is_empty(self) -> bool:
        """Whether no worker has ended."""
        return not self.record.head.ended

    @property
    def absorbed(self) -> set[Member]:
        """The workers that ended last: their totals are contained already."""
        return {Member(*each) for each in self.record.head.absorbed}

    def read(self) -> None:
        """Continue with the totals in the file."""
        self.record = self._kept()

    def read_newer(self) -> None:
        """Continue with the totals in the file, unless it was removed or is older."""
        kept = self._kept()
        if kept.head.ended >= self.record.head.ended:
            self.record = kept

    def forget(self) -> None:
        """Begin with no totals, and remove the file."""
        self.record = Record()
        remove(self._files.past)

    def add(self, new: Mapping[Member, Record], left: set[Member]) -> None:
        """Add the totals of `new`; `left` are all ended workers whose files are still there."""
        self._is_written = False
        head = self.record.head
        firsts = {self._first, *head.firsts}.union(*(one.head.firsts for one in new.values()))
        self.record = Record(
            replace(
                head,
                firsts=tuple(item for item in firsts if Member(*item).is_alive),
                ended=head.ended + len(new),
                killed=head.killed + sum(one.head.killed for one in new.values()),
                absorbed=(*self.absorbed - left, *left)[-max(_MOST_ABSORBED, len(left)) :],
            ),
            records.together(
                self._sections, [self.record.sheet, *(record.sheet for record in new.values())]
            ),
        )

    def restore(self) -> None:
        """Save the totals again if something else has removed the file."""
        if not self.is_empty and identity(self._files.past) is None:
            self._is_written = False
            self.save()

    def save(self) -> bool:
        """Save the totals unless that was done; return whether the file has them."""
        if not self._is_written:
            at = unmocked.monotonic()
            new = {name: (items, at) for name, items in self.record.sheet.items()}
            text = records.written(self.record.head, self._sections, new, {})
            try:
                self._files.write(self._files.past, text)
            except OSError as error:
                faults.warn_once(
                    "workers.past", "totals of workers that have ended cannot be kept: %s", error
                )
            else:
                self._is_written = True
        return self._is_written

    def _kept(self) -> Record:
        try:
            text = self._files.read(self._files.past, MOST_BYTES)
            return records.read(text, self._sections)
        except (OSError, Malformed) as error:
            raise_exhausted(error)
            return Record()
