"""State that one pipeline hands over to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from metertap.otel.replay import Journal

if TYPE_CHECKING:
    from metertap.otel.instruments import Observed, OtelInstruments


class Handover(NamedTuple):
    """State from which the instruments of a new provider continue."""

    journal: Journal | None = None
    """Durations that no collector got, which the new instruments get."""
    observed: Observed | None = None
    """Counts that a collector got, which must not reach it again."""

    def give(self, instruments: OtelInstruments) -> None:
        """Let `instruments` continue from this state."""
        if self.observed is not None:
            instruments.start_after(self.observed)
        elif self.journal is not None:
            self.journal.replay(instruments)
