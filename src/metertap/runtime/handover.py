"""State that passes from one pipeline to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from metertap.otel.replay import Journal

if TYPE_CHECKING:
    from metertap.otel.instruments import Observed, OtelInstruments


class Handover(NamedTuple):
    """State of a provider's instruments that those of a later provider continue from."""

    journal: Journal | None = None
    """Durations that nobody got, which go along."""
    observed: Observed | None = None
    """Counts that a collector got, which must not reach it again."""

    def give(self, instruments: OtelInstruments) -> None:
        """Let `instruments` begin where the earlier ones ended."""
        if self.observed is not None:
            instruments.start_after(self.observed)
        elif self.journal is not None:
            self.journal.replay(instruments)
