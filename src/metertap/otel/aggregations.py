"""The SDK's aggregations of one instrument, of which a scrape collects some at a time.

The SDK collects all points of an instrument in one piece: of a thousand that takes so long that
other threads are stalled, which the interpreter makes wait for 5 ms where nobody gives way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader

from metertap import pacing

_PIECE = 100
"""Points that are collected before others may run: they take about a millisecond."""


def collect_in_pieces(reader: MetricReader) -> None:
    """Let others run while `reader`, which is cumulative, collects what it has instruments for.

    Where the SDK is another one than is known here, nothing is done.
    """
    consumer = getattr(reader._collect, "__self__", None)
    storage = getattr(consumer, "_reader_storages", {}).get(reader)
    by_instrument = getattr(storage, "_instrument_view_instrument_matches", {})
    for match in [match for matches in list(by_instrument.values()) for match in matches]:
        if type(getattr(match, "_attributes_aggregation", None)) is dict:
            with match._lock:
                match._attributes_aggregation = Aggregations(match)


class Aggregations(dict[Any, Any]):
    """The aggregations of a `match` of the SDK's, by attributes; nothing else is different.

    For readers that are cumulative: a collection for others ends with the aggregations.
    """

    def __init__(self, match: Any) -> None:
        super().__init__(match._attributes_aggregation)
        self._lock = match._lock

    def values(self) -> Any:
        """Iterate over those that are there now, as a collection does, which holds the lock.

        Others may run after each hundred, and may record: they get the lock meanwhile.
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
