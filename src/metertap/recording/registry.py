"""The series of one process by name: made on first use, and limited in number.

Names that the program registers are kept, whatever their number. Names that it passes on may come
from a client, or from a server that a client asks: past the series limit these share a series
called `_OTHER`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from metertap import catalogue, faults, locks
from metertap.labels import as_label
from metertap.recording.operation_series import DataPoint, OperationSeries
from metertap.recording.views import Views

if TYPE_CHECKING:
    from metertap.recording.cache_series import CacheSeries
    from metertap.recording.routes import Part, Route
    from metertap.recording.tool_series import ToolSeries
    from metertap.recording.usage_series import UsageSeries
    from metertap.recording.weight_series import WeightSeries

_OVERFLOW: Mapping[str, Any] = {"otel.metric.overflow": True}
"""The attribute with which the SDK's own readers mark what is past their limit."""


class Registry(Views):
    """Finds and makes the series of one process. Any thread may call its methods."""

    def __init__(self, window_size: int, series_limit: int) -> None:
        self._series_limit = series_limit
        super().__init__(window_size)

    def _clear(self) -> None:
        super()._clear()
        self._points: dict[Hashable, DataPoint] = {}
        self._points_of: Counter[str] = Counter()
        self._overflown: dict[str, dict[str, Any]] = {}

    # Tools

    def tool(self, name: str, source: str) -> ToolSeries:
        """Return the series of a tool of the program; a new one is in the document from now on.

        Such tools are in its code: only the length of their names is limited.
        """
        series = self.find_tool(name, source)
        if series is None:
            from metertap.recording.tool_series import ToolSeries  # imported with the first tool

            name = as_label(name)
            series = locks.briefly(
                self.lock,
                lambda: (
                    self._tools.get((name, source))
                    or self._tools.setdefault((name, source), ToolSeries(name, source, self))
                ),
            )
            self._activity()
        return series

    def find_tool(self, name: str, source: str) -> ToolSeries | None:
        """Return the series of `name` if that is registered, as a client's choice may not be."""
        return self._tools.get((name, source)) or self._tools.get((as_label(name), source))

    def other_tool(self, source: str) -> ToolSeries:
        """Return the common series of calls of unregistered names."""
        return self.tool(catalogue.OTHER, source)

    def tool_by_hand(self, name: str, source: str) -> ToolSeries:
        """Return the series of a name that the program passed in; past the series limit, `_OTHER`.

        The number is limited because a dispatcher may pass on what a client sent.
        """
        series = self._tools.get((name, source)) if isinstance(name, str) else None
        return series or self.tool(self._name_by_hand(name, source, self._tools), source)

    def _name_by_hand(self, name: object, owner: str, series: Mapping[tuple[str, str], Any]) -> str:
        """Return `name`, made a label, or `_OTHER` if `series` has too many names for a new one."""
        if not isinstance(name, str) or not name:
            shown = faults.shown(name)
            faults.warn_once("record.name", "%s is not a name: %s", shown, catalogue.OTHER)
            return catalogue.OTHER
        name = as_label(name)
        if (name, owner) in series or len(series) < self._series_limit:
            return name
        faults.warn_once(
            "series limit",
            "there are %d names already (METERTAP_SERIES_LIMIT); new ones become %s",
            self._series_limit,
            catalogue.OTHER,
        )
        return catalogue.OTHER

    # Weights

    def weight(self, name: str, source: str, side: str = catalogue.SERVER) -> WeightSeries:
        """Return the series of one tool's weight; made on first use.

        The number is limited because a client, an agent or a proxy learns names from servers. Names
        that clients learn leave room for as many others.
        """
        series = self._weights.get((name, source, side))
        if series is None:
            from metertap.recording.weight_series import WeightSeries  # imported on first use

            def make() -> WeightSeries:
                most = self._series_limit * (1 if side == catalogue.CLIENT else 2)
                label = catalogue.OTHER if len(self._weights) >= most else as_label(name)
                new = WeightSeries(label, source, side, self)
                return self._weights.setdefault((label, source, side), new)

            series = locks.briefly(self.lock, make)
        return series

    def weight_of(self, tool: ToolSeries) -> WeightSeries | None:
        """Return the series of a tool's weight; None if weights are not recorded."""
        if tool.weight is None:
            tool.weight = self.weight(tool.name, tool.source) if self.weighs else False
        return tool.weight or None

    # MCP operations

    def find_operation(self, key: Hashable) -> DataPoint | None:
        """Return the data point that `key` identifies, if there is one."""
        return self._points.get(key)

    def operation(
        self, key: Hashable, metric: catalogue.Metric, attributes: dict[str, Any]
    ) -> DataPoint:
        """Return the data point of `metric` with `attributes`; made on first use.

        `key` identifies both and is cheaper to compare. Past the series limit of `metric`, new data
        points share attributes, as in the SDK.
        """

        def find() -> DataPoint:
            found = self._points.get(key)
            if found is None:
                error_type = attributes.get(catalogue.ERROR_TYPE)
                series = self._operation_series(metric, attributes)
                if self._points_of[metric.name] < self._series_limit:
                    self._points_of[metric.name] += 1
                    found = self._points[key] = series.point(attributes, error_type)
                else:
                    shared = self._overflown.setdefault(metric.name, dict(_OVERFLOW))
                    found = series.point(shared, error_type)
            return found

        found = locks.briefly(self.lock, find)
        if metric.side:
            self._activity()
        return found

    def route(self, *parts: Part) -> Route:
        """Return the route of calls that count on all of `parts`; made on first use."""
        from metertap.recording.routes import Route  # imported on first use

        def find() -> Route:
            known: tuple[Route, ...] = parts[0].series.routes
            for route in known:
                if route.parts == parts:
                    return route
            new = Route(self, parts)
            for series in new.series:
                series.routes += (new,)
            return new

        return locks.briefly(self.lock, find)

    def overflown(self) -> list[str]:
        """Name the metrics past their series limit, whose operations share data points."""
        return list(self._overflown)

    def _operation_series(
        self, metric: catalogue.Metric, attributes: Mapping[str, str]
    ) -> OperationSeries:
        method = attributes.get(catalogue.MCP_METHOD, "")
        name = next((attributes[key] for key in catalogue.NAMES if key in attributes), None)
        series = self._operations.get((metric.name, method, name))
        if series is None:
            series = OperationSeries(metric, method, name, self)
            self._operations[metric.name, method, name] = series
        return series

    # Caches

    def cache(self, name: str, system: str, supports: frozenset[str] | None = None) -> CacheSeries:
        """Return the series of one cache name; made on first use."""
        series = self._caches.get((name, system))
        if series is None:
            from metertap.recording.cache_series import CacheSeries  # imported with the first cache

            series = locks.briefly(
                self.lock,
                lambda: self._caches.setdefault(
                    (name, system), CacheSeries(name, system, supports)
                ),
            )
            self._activity()
        return series

    def cache_by_hand(
        self, name: str, system: str, supports: frozenset[str] | None = None
    ) -> CacheSeries:
        """Return the series of a cache that the program named; limited as tools by hand are."""
        series = self._caches.get((name, system)) if isinstance(name, str) else None
        if series is None:
            series = self.cache(self._name_by_hand(name, system, self._caches), system, supports)
        return series

    # Model calls

    def usage(self, tool: str, provider: str, model: str) -> UsageSeries:
        """Return the series of a tool's model calls; made on first use. With the lock held.

        Past the series limit, provider and model are `_OTHER`: a client may choose both.
        """
        series = self._usage.get((tool, provider, model))
        if series is None:
            from metertap.recording.usage_series import UsageSeries  # with the first model call

            if len(self._usage) >= self._series_limit:
                provider = model = catalogue.OTHER
            key = (tool, provider, model)
            series = self._usage.setdefault(key, UsageSeries(*key))
        return series
