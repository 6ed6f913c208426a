"""The SDK's aggregations of one instrument, collected some at a time.

The SDK collects all points of an instrument at once. A thousand points take so long that other
threads stall: a waiting thread gets the interpreter after 5 ms, unless the collecting one gives
way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader

from metertap import pacing

_PIECE = 100
"""Points that are collected before other threads may run: about a millisecond of work."""


def collect_in_pieces(reader: MetricReader) -> None:
    """Let other threads run while `reader`, which is cumulative, collects its instruments.

    Does nothing with an SDK whose private parts are not the known ones.
    """
    consumer = getattr(reader._collect, "__self__", None)
    storage = getattr(consumer, "_reader_storages", {}).get(reader)
    by_instrument = getattr(storage, "_instrument_view_instrument_matches", {})
    for match in [match for matches in list(by_instrument.values()) for match in matches]:
        if type(getattr(match, "_attributes_aggregation", None)) is dict:
            with match._lock:
                match._attributes_aggregation = Aggregations(match)


class Aggregations(dict[Any, Any]):
    """The aggregations of one of the SDK's matches of a view, by attributes: iterates with pauses.

    For cumulative readers only: a delta reader's collection removes the aggregations.
    """

    def __init__(self, match: Any) -> None:
        super().__init__(match._attributes_aggregation)
        self._lock = match._lock

    def values(self) -> Any:
        """Yield the aggregations that exist now, as a collection does while it holds the lock.

        After each hundred, other threads may run and record: the lock is free meanwhile.
        """
        return self._in_pieces(list(super().values()))

    def _in_pieces(self, aggregations: list[Any]) -> Iterator[Any]:
        for number, aggregation in enumerate(aggregations):
            if number % _PIECE == 0 and number:
                self._lock.release()
                try:
                    pacing.pause()
                finally:
                    self._lock.acquire()
            yield aggregation
