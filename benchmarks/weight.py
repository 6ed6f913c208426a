"""What weighing a result adds to a call: nothing is serialised, so its size hardly matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measuring import Result, above, interleaved, result, timed
from benchmarks.process import measured
from metertap.state import recorder
from metertap.weight.results import of_content, of_value

_TIMES = 5000
_LIMIT = 1e-6
_TEXT = "x" * 10_000
_RESULTS: dict[str, tuple[Callable[[Any], int], Any]] = {
    "MCP content of 10 kB": (of_content, [{"type": "text", "text": _TEXT}]),
    "a text of 10 kB": (of_value, _TEXT),
    "data, most of it out of the sample": (of_value, {"rows": [{"a": 1}] * 20}),
    "a generator, which is unknown": (of_value, iter(())),
}


def results(rounds: int) -> Iterator[Result]:
    """Weigh results of each kind, and one where that is switched off."""
    for shown, (size_of, value) in _RESULTS.items():
        yield _row(f"weighing {shown}", rounds, size_of, value, 1.0)
    yield _row("weighing, switched off", rounds, of_value, _TEXT, 0.2, weight=False)


def _row(
    row: str, rounds: int, size_of: Callable[[Any], int], value: Any, limit: float, **options: Any
) -> Result:
    with measured(**options):
        series = recorder().tool("benchmark", "benchmark")

        def ours() -> None:
            if series.weight is not False:
                weight = series.weight or recorder().weight_of(series)
                if weight is not None:
                    weight.weigh(size_of, value)

        works = {"bare": timed(lambda: None), "ours": timed(ours)}
        added = above(interleaved(works, rounds=rounds, times=_TIMES), "ours", "bare")
    return result(row, "1 µs", added, [_LIMIT] * len(added), limit)
