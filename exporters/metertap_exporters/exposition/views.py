"""What a histogram cannot tell, as families: exact percentiles, longest calls, hit ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress, count
from operator import is_not
from typing import Any, TypeVar

from metertap import catalogue
from metertap.recording import Figures, OperationFigures, Recorder, ToolFigures
from metertap_exporters.exposition.families import Family, Group, Labels, Quantiles, Series

T = TypeVar("T")


class Views:
    """Exact percentiles of tool calls and MCP operations, longest calls, and caches' hit ratios."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._labels: dict[tuple[str | None, ...], Labels] = {}  # the same objects at each scrape
        self._series: dict[str, tuple[list[Any], list[Any]]] = {}
        """By name of a family, the items of its series, and the series."""

    def families(
        self, figures: Figures | None = None, *, is_kept: bool = False
    ) -> Iterator[Family]:
        """Yield the families of the recorder's figures, or others. No data is no sample, not 0.

        With `is_kept`, a series is the same object as before while its figures are.
        """
        figures = figures or self._recorder.lifetime()
        before = self._labels
        # Kept series do not look their labels up again, which may then be fewer than series.
        if not is_kept or len(before) > sum(len(series) for _, series in self._series.values()):
            self._labels = {}

        def family(
            name: str,
            kind: str,
            description: str,
            labels: tuple[str, ...],
            items: Iterable[T],
            made: Callable[[T], Series],
        ) -> Family:
            series = self._same(name, items, made) if is_kept else map(made, items)
            group = Group({}, frozenset(labels), series, is_kept)
            return Family(name, kind, description, groups=[group])

        yield family(
            catalogue.LATENCY_SUMMARY,
            "summary",
            "Latency of tool calls: exact percentiles of the last ones that succeeded or failed, "
            "none beyond the longest; count and sum of all that have a duration, of any outcome.",
            ("gen_ai_tool_name", "source"),
            figures.tools,
            lambda tool: Series(
                self._kept(before, gen_ai_tool_name=tool.name, source=tool.source),
                _latencies(tool, tool.sampled + tool.unsampled, tool.total_ms + tool.unsampled_ms),
            ),
        )
        yield family(
            catalogue.LATENCY_MAX,
            "gauge",
            "Latency of the longest tool call that succeeded or failed since the start.",
            ("gen_ai_tool_name", "source"),
            (tool for tool in figures.tools if tool.maximum_ms is not None),
            lambda tool: Series(
                self._kept(self._labels, gen_ai_tool_name=tool.name, source=tool.source),
                (tool.maximum_ms or 0.0) / 1000.0,
            ),
        )
        if figures.operations:
            yield family(
                catalogue.OPERATION_SUMMARY,
                "summary",
                "Duration of MCP requests, by side: exact percentiles of the last ones, of any "
                "outcome, none beyond the longest. Histograms have their count and sum.",
                ("side", "mcp_method_name", "name"),
                figures.operations,
                lambda item: Series(
                    self._kept(before, side=item.side, mcp_method_name=item.method, name=item.name),
                    _latencies(item),
                ),
            )
        yield family(
            catalogue.HIT_RATIO,
            "gauge",
            "Hits among all lookups of a cache.",
            ("cache_name", "cache_system"),
            (cache for cache in figures.caches if cache.hits or cache.misses),
            lambda cache: Series(
                self._kept(before, cache_name=cache.name, cache_system=cache.system),
                cache.hits / (cache.hits + cache.misses),
            ),
        )

    def _same(
        self, place: str, items: Iterable[T], made: Callable[[T], Series]
    ) -> Sequence[Series]:
        """Return a series for each item; made only for items that are new objects."""
        now = [*items]
        before, kept = self._series.get(place, ([], []))
        if len(before) != len(now):
            before, kept = [None] * len(now), [None] * len(now)
        for number in compress(count(), map(is_not, now, before)):
            kept[number] = made(now[number])
        self._series[place] = now, kept
        return kept

    def _kept(
        self, before: Mapping[tuple[str | None, ...], Labels], **labels: str | None
    ) -> Labels:
        """Return the labels of the last scrape, if they are equal."""
        key = (*labels, *labels.values())
        kept = before.get(key)
        if kept is None:
            kept = {name: value for name, value in labels.items() if value is not None}
        self._labels[key] = kept
        return kept


def _latencies(
    figures: ToolFigures | OperationFigures, count: int | None = None, total_ms: float = 0.0
) -> Quantiles:
    shown = figures.percentiles.at_most(figures.maximum_ms)
    known = [
        (quantile, value / 1000.0)
        for quantile, value in (("0.5", shown.p50), ("0.95", shown.p95), ("0.99", shown.p99))
        if value is not None
    ]
    return Quantiles(known, count, total_ms / 1000.0)
