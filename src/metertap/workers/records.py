"""Records of workers in files: the totals of one, and those of all that have ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from metertap.workers.ledger import Merged
from metertap.workers.members import Member
from metertap.workers.sections import Heard, Items, Section, Sheet, Told
from metertap.workers.wire import VERSION, Malformed, decoder, encoder, framed, loaded

MOST_BYTES = 16 * 2**20
"""The most bytes of one file: totals have no samples, and 2,000 series take about 1 MB."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a record; members are process ids and their starts."""

    instance: str = ""
    firsts: tuple[tuple[int, int], ...] = ()
    """The processes that started these workers: while one is alive, its workers are one service."""
    ended: int = 0
    """The number of ended workers that it contains."""
    absorbed: tuple[tuple[int, int], ...] = ()
    """Workers whose own records are contained, and whose files may still exist."""


@dataclass(frozen=True, slots=True)
class Record:
    """Totals of one worker, or of several that have ended."""

    head: Head = field(default_factory=Head)
    sheet: Sheet = field(default_factory=dict)
    at: Mapping[str, float] = field(default_factory=dict)
    """The time of each section, by the system's monotonic clock, which all processes share."""

    @property
    def is_continued(self) -> bool:
        """Whether a process that started its workers is alive, and may have started others."""
        return any(Member(*first).is_alive for first in self.head.firsts)


_encode_head, _decode_head = encoder(Head), decoder(Head)


def text_of(section: Section, items: Items, at: float) -> str:
    """Write the permanent part of one section, and its time."""
    changes = Told().changes(section.settled(items))
    return f"{json.dumps(section.name)}:{json.dumps([at, section.encoded(changes, [])])}"


def written(head: Head, texts: Iterable[str]) -> bytes:
    """Write a record of sections that were written."""
    about = json.dumps(_encode_head([head], []))
    return framed(f'{{"version":{VERSION},"head":{about},"sections":{{{",".join(texts)}}}}}')


def read(data: bytes, sections: Mapping[str, Section]) -> Record:
    """Read a record; sections that are unknown here are left out. Raises Malformed."""
    found, samples = loaded(data)
    given = found.get("sections")
    if not isinstance(given, dict):
        raise Malformed("it has no sections")
    sheet, at = {}, {}
    for name, section in sections.items():
        if name in given:
            try:
                at[name], written = given[name]
            except (TypeError, ValueError):
                raise Malformed(f"{name}: it is no section") from None
            if type(at[name]) is not float:
                raise Malformed(f"{name}: it has no time")
            heard = Heard()
            heard.take(section.decoded(written, samples))
            sheet[name] = heard.items
    (head,) = _decode_head(found.get("head"), 1, samples)
    return Record(head, sheet, at)


def together(
    sections: Mapping[str, Section], sheets: Sequence[Sheet]
) -> dict[str, dict[tuple[str | None, ...], object]]:
    """Merge the permanent parts of several workers."""
    settled = [
        {name: sections[name].settled(items) for name, items in sheet.items() if name in sections}
        for sheet in sheets
    ]
    return {name: Merged().of(section, settled) for name, section in sections.items()}
