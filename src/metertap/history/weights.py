"""Definitions in a history: the bytes that a version's tools add to every session.

A history keeps sums only. The size of a definition is kept as the sum of the sizes seen and the
number of times it was seen: whenever it is new, and whenever the tool was called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from metertap import catalogue
from metertap.history.answers import Slice, Subject
from metertap.recording import Recorder

_SEEN, _BYTES = "definitions_seen", "definition_bytes_seen"


class DefinitionSums:
    """Sums of the definitions of a recorder's tools, where these run."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._seen: dict[Subject, tuple[object, int]] = {}
        self._sums: dict[Subject, dict[str, float]] = {}

    def __call__(self) -> Iterator[tuple[Subject, Mapping[str, float]]]:
        """Give the sums of each tool that has a definition."""
        for weight in self._recorder.weight_figures() or ():
            if weight.side != catalogue.SERVER or weight.definition is None:
                continue
            subject = Subject("tool", weight.name, weight.source)
            sums = self._sums.setdefault(subject, {_SEEN: 0, _BYTES: 0})
            now = weight.definition, weight.results
            if self._seen.get(subject) != now:
                sums[_SEEN] += 1
                sums[_BYTES] += weight.definition.total
            self._seen[subject] = now
            yield subject, dict(sums)


@dataclass(frozen=True, slots=True)
class DefinitionChange:
    """The bytes of a service's definitions in a session, before and after."""

    service: str
    before: int
    after: int
    by_tool: list[tuple[str, int]]
    """The growth of each tool's definition in bytes, the largest change first; none unchanged."""


def definition_changes(
    pieces: Mapping[tuple[str, Subject], tuple[Sequence[Slice], Sequence[Slice]]], *, whole: bool
) -> list[DefinitionChange]:
    """Compare definitions by service, before and after; services that one side lacks are left out.

    If each side is a `whole` version, a tool that only one side has is new or gone. In a part of a
    version it may merely not have been listed.
    """
    services: dict[str, dict[str, tuple[int, int]]] = {}
    for (service, subject), (before, after) in pieces.items():
        sizes = _size(before), _size(after)
        if subject.kind == "tool" and (any(sizes) if whole else all(sizes)):
            services.setdefault(service, {})[subject.name] = sizes
    found = []
    for service, tools in services.items():
        was, now = (sum(sizes[side] for sizes in tools.values()) for side in (0, 1))
        changed = [(name, size[1] - size[0]) for name, size in tools.items() if size[1] != size[0]]
        if was and now and changed:
            changed.sort(key=lambda item: (-abs(item[1]), item[0]))
            found.append(DefinitionChange(service, was, now, changed))
    return found


def _size(pieces: Iterable[Slice]) -> int:
    """Return the mean size of a definition in some periods; 0 where it was not seen."""
    seen, size = 0.0, 0.0
    for piece in pieces:
        seen += piece.extra.get(_SEEN, 0)
        size += piece.extra.get(_BYTES, 0)
    return round(size / seen) if seen else 0
