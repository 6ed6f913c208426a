"""The items that one worker reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from metertap import locks
from metertap.recording import Figures, Recorder
from metertap.workers.rows import Items, Sheet
from metertap.workers.sections import Section


class Ledger:
    """The items of this worker, by section. Any thread may ask."""

    def __init__(self, recorder: Recorder, sections: Sequence[Section]) -> None:
        self._recorder = recorder
        self.sections: Mapping[str, Section] = {section.name: section for section in sections}
        self.telling = [section.name for section in sections if section.tells_change]
        """Sections whose changes are saved."""
        self._lock = locks.lock()
        self._kept: dict[str, Items] = {}

    def now(self, names: Iterable[str]) -> dict[str, Items]:
        """Return the items of some sections as they are now."""
        with self._lock:
            figures = self._recorder.lifetime(is_bare=True)
            return {name: self._taken(name, figures) for name in names if name in self.sections}

    def forget(self) -> None:
        """Forget all items: a forked child counts from zero."""
        self._kept = {}

    def _taken(self, name: str, figures: Figures) -> Items:
        before = self._kept.setdefault(name, {})
        now = self.sections[name].take(figures, before)
        if before is now or (len(before) == len(now) and not _are_others(before, now)):
            return before  # the same object shows that nothing has changed
        self._kept[name] = now
        return now


def _are_others(before: Items, now: Items) -> bool:
    return any(before.get(key) is not item for key, item in now.items())


def is_changed(before: Sheet, now: Sheet) -> bool:
    """Return whether any section of `now` differs from that in `before`."""
    return any(before.get(name) is not items for name, items in now.items())
