"""The HTTP API of engines that speak PromQL: two kinds of queries, and their results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from metertap.history.answers import HistoryError

Ask = Callable[[str], bytes]
"""A function that returns the engine's answer to a path. Raises HistoryError."""

NO_PROMQL = "what answers there does not speak PromQL"
TOO_MUCH = "what answers there gives more than was asked for"
TOTAL_SECONDS = 60.0
"""The most seconds for all queries of one answer together."""
MOST_POINTS = 11_000
"""The most points of one series, as many as Prometheus returns."""
_MOST_MEMORY = 256 * 2**20
"""The most bytes of memory for an answer, estimated from its brackets and commas."""
_MEMORY = ((b"{", 240), (b"[", 64), (b",", 60))
"""Characters of JSON, and the most bytes of memory for what each begins or separates."""
_LARGEST = 2.0**62
"""The largest count: sums of larger numbers are not exact."""
_LAST = 1e11
"""The latest time, in Unix seconds."""


class Point(NamedTuple):
    """A number at one moment, or the buckets of a native histogram."""

    at: float
    value: float
    buckets: Sequence[tuple[float, float, float]] = ()
    """Lower and upper bounds, and counts."""


class Api:
    """A client of an engine. Methods raise HistoryError where it fails, is wrong or is too slow."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.start()

    def start(self) -> None:
        """Start the clock for the queries of the next answer."""
        self._due = time.monotonic() + TOTAL_SECONDS

    def check(self) -> None:
        """Raise HistoryError if the clock has run out."""
        if time.monotonic() > self._due:
            raise HistoryError(f"the engine took more than {TOTAL_SECONDS:g} s in all")

    def instant(self, query: str, at: float) -> list[tuple[Mapping[str, str], Point]]:
        """Return the series of a query at one moment."""
        found = self._result("query", "vector", query=query, time=at)
        return [(item["metric"], point) for item in found for point in _points([item["value"]], ())]

    def range(
        self, query: str, start: float, end: float, step: float
    ) -> Iterator[tuple[Mapping[str, str], list[Point]]]:
        """Yield the series of a query that have any points, earlier points first."""
        found = self._result("query_range", "matrix", query=query, start=start, end=end, step=step)
        for item in found:
            points = list(_points(item.get("values", ()), item.get("histograms", ())))
            if points:
                yield item["metric"], points

    def _result(self, kind: str, wanted: str, **parameters: str | float) -> list[dict[str, Any]]:
        self.check()
        body = self._ask(f"/api/v1/{kind}?{urlencode(parameters)}")
        # Before parsing: sixteen megabytes of small lists take more than half a gigabyte.
        if sum(body.count(sign) * size for sign, size in _MEMORY) > _MOST_MEMORY:
            raise HistoryError(TOO_MUCH)
        try:
            answer = json.loads(body)
            data = answer["data"]
            if answer["status"] != "success" or data["resultType"] != wanted:
                raise ValueError
            found: list[dict[str, Any]] = data["result"]
            # Callers rely on these types.
            for item in found:
                if any(not isinstance(text, str) for text in item["metric"].values()):
                    raise ValueError
                rows = [item["value"]] if wanted == "vector" else item.get("values", [])
                histograms = item.get("histograms", ())
                if len(rows) + len(histograms) > MOST_POINTS:
                    raise HistoryError(TOO_MUCH)
                for _ in _points(rows, histograms):
                    pass
        except (
            ArithmeticError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            RecursionError,
        ):
            raise HistoryError(NO_PROMQL) from None
        return found


def _points(values: Sequence[Any], histograms: Sequence[Any]) -> Iterator[Point]:
    """Yield the points of a series, without those that are no counts."""
    for at, text in values:
        value = float(text)
        if 0 <= value <= _LARGEST:
            yield Point(_moment(at), value)
    for at, held in histograms:
        bounds = [tuple(map(float, bucket[1:])) for bucket in held.get("buckets", ())]
        buckets = [
            (lower, upper, count)
            for lower, upper, count in bounds
            if lower <= upper and 0 <= count <= _LARGEST
        ]
        value = float(held["count"])
        if 0 <= value <= _LARGEST:
            yield Point(_moment(at), value, buckets)


def _moment(at: Any) -> float:
    found = float(at)
    if not 0 <= found <= _LAST:
        raise ValueError("it is no time")
    return found
