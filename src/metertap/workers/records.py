"""Records of workers in files: the totals of one, and those of all that have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metertap.workers.ledger import Merged
from metertap.workers.members import Member
from metertap.workers.sections import Section, Sheet
from metertap.workers.wire import VERSION, Malformed, decoder, dumped, encoder, loaded

MOST_BYTES = 16 * 2**20
"""Of one file: totals have no samples, and 2,000 series take about 1 MB."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a record; members are process ids and their starts."""

    at: float = 0.0
    """When it was so, by the system's monotonic clock, which all processes share."""
    instance: str = ""
    firsts: tuple[tuple[int, int], ...] = ()
    """The processes that started these workers: as long as one is alive, theirs are one service."""
    ended: int = 0
    """How many workers that have ended it is of."""
    absorbed: tuple[tuple[int, int], ...] = ()
    """Workers whose own records are contained, and whose files may still be there."""


@dataclass(frozen=True, slots=True)
class Record:
    """Totals of one worker, or of several that have ended."""

    head: Head = field(default_factory=Head)
    sheet: Sheet = field(default_factory=dict)

    @property
    def is_continued(self) -> bool:
        """Whether what started its workers is alive, and so may have started others."""
        return any(Member(*first).is_alive for first in self.head.firsts)


_encode_head, _decode_head = encoder(Head), decoder(Head)


def written(record: Record, sections: Mapping[str, Section]) -> bytes:
    """Write a record of what stays of each section."""
    kept = {
        name: sections[name].encoded(sections[name].changes({}, items))
        for name, items in record.sheet.items()
    }
    return dumped({"version": VERSION, "head": _encode_head(record.head), "sections": kept})


def read(text: bytes, sections: Mapping[str, Section]) -> Record:
    """Read a record; sections that are unknown here are left out. Raises Malformed."""
    found = loaded(text)
    given = found.get("sections")
    if not isinstance(given, dict):
        raise Malformed("it has no sections")
    sheet = {
        name: section.after({}, section.decoded(given[name]))
        for name, section in sections.items()
        if name in given
    }
    return Record(_decode_head(found.get("head")), sheet)


def together(
    sections: Mapping[str, Section], sheets: Sequence[Sheet]
) -> dict[str, dict[tuple[str | None, ...], object]]:
    """Merge what stays of several workers."""
    settled = [
        {name: sections[name].settled(items) for name, items in sheet.items() if name in sections}
        for sheet in sheets
    ]
    return {name: Merged().of(section, settled) for name, section in sections.items()}
