"""Records of workers in files: the totals of one, and those of all that have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metertap.workers.checking import Malformed, moment
from metertap.workers.coding import decoder, encoder
from metertap.workers.exchange import Heard, Told
from metertap.workers.members import Files, Member, identity
from metertap.workers.merged import Merged
from metertap.workers.rows import Items, Sheet
from metertap.workers.sections import Section
from metertap.workers.wire import framed, messages

MOST_BYTES = 16 * 2**20
"""The most bytes of one file: totals have no samples, and 2,000 series take about 1 MB."""
_MOST_GROWTH = 8
"""The file is rewritten once it is so many times as long as at first."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a record; processes are given by id and start."""

    instance: str = ""
    firsts: tuple[tuple[int, int], ...] = ()
    """The processes that started these workers; while one is alive, the service continues."""
    ended: int = 0
    """The number of ended workers in the record."""
    killed: int = 0
    """Of these, or of this one, the number that may have counted more than they saved."""
    absorbed: tuple[tuple[int, int], ...] = ()
    """Workers whose own records are contained, while their files may still exist."""


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


def written(
    head: Head,
    sections: Mapping[str, Section],
    new: Mapping[str, tuple[Items, float]],
    told: dict[str, Told],
) -> bytes:
    """Return a record of what is new in sections, each with its time.

    Its reader ignores what is the state of one moment only.
    """
    samples: list[bytes] = []
    about = _encode_head([head], samples)
    found = {}
    for name, (items, at) in new.items():
        one, own, text = told.setdefault(name, Told()), list[bytes](), None
        if not one.has(items):
            text = sections[name].encoded(one.changes(items), own, has_windows=False)
        found[name] = at, text, sum(map(len, own))
        samples += own
    return framed({"head": about, "sections": found}, samples)


class Totals:
    """The file of a worker's totals: written completely once, then what is new is appended."""

    def __init__(self, files: Files, path: str, sections: Mapping[str, Section]) -> None:
        self._files = files
        self._path = path
        self._sections = sections
        self._known: dict[str, tuple[Items, float]] = {}
        self._told: dict[str, Told] = {}
        self._size = self._most = 0

    @property
    def is_missing(self) -> bool:
        """Whether the saved file was removed; the next save writes everything."""
        is_missing = bool(self._size) and identity(self._path) is None
        if is_missing:
            self._told = {}
        return is_missing

    def save(self, head: Head, sheet: Sheet, at: float) -> None:
        """Save some sections as they are `at` that time. Raises OSError."""
        new = {name: (items, at) for name, items in sheet.items()}
        self._known |= new
        told, self._told = self._told, {}
        is_whole = not told or self._size > self._most
        if is_whole:
            told, new = {}, self._known
        data = written(head, self._sections, new, told)
        if is_whole:
            self._files.write(self._path, data)
            self._size, self._most = 0, _MOST_GROWTH * len(data)
        else:
            try:
                self._files.append(self._path, data)
            except FileNotFoundError:  # something else has removed it
                self._files.have_folder()
                self.save(head, sheet, at)
                return
        self._size += len(data)
        self._told = told


def read(data: bytes, sections: Mapping[str, Section]) -> Record:
    """Read a record; sections that are unknown here are left out. Raises Malformed.

    The last part may be cut off, if its worker was killed.
    """
    heard: dict[str, Heard] = {}
    at: dict[str, float] = {}
    head = Head()
    for found, samples in messages(data):
        (head,) = _decode_head(found.get("head"), 1, samples)
        given = found.get("sections")
        if not isinstance(given, dict):
            raise Malformed("it has no sections")
        for name, each in given.items():
            try:
                then, text, size = each
                own = samples.part(size)
            except (TypeError, ValueError):
                raise Malformed(f"{name}: it is no section") from None
            if name in sections:
                at[name] = moment(then)
                if text is not None:  # something has changed
                    heard.setdefault(name, Heard()).take(sections[name].decoded(text, own))
    sheet = {name: sections[name].settled(each.items) for name, each in heard.items()}
    return Record(head, sheet, at)


def together(sections: Mapping[str, Section], sheets: Sequence[Sheet]) -> dict[str, Items]:
    """Merge the permanent parts of several workers."""
    settled = [
        {name: sections[name].settled(items) for name, items in sheet.items() if name in sections}
        for sheet in sheets
    ]
    return {name: Merged().of(section, settled) for name, section in sections.items()}
