"""One dashboard in the making, on top of `grafana-foundation-sdk`.

This module decides how panels look; the modules beside it decide what a dashboard shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from json import dumps
from typing import Any

PACKAGE = "grafana_foundation_sdk"

_DATASOURCE = "${datasource}"
_WIDTH = 24
_HEIGHT = 9


def _builders(name: str) -> Any:
    return import_module(f"{PACKAGE}.builders.{name}")


def _models(name: str) -> Any:
    return import_module(f"{PACKAGE}.models.{name}")


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the name of its series in the legend."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of a figure: one below `limit`, the other from there on."""

    below: str
    limit: float
    above: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A list at the top of a dashboard, whose entries a query finds."""

    name: str
    label: str
    query: str
    many: bool = True
    all_value: str | None = None
    """The regular expression for "All"; without it, "All" is every value of the list."""


class Board:
    """Collects panels from left to right, top to bottom."""

    def __init__(
        self, uid: str, title: str, description: str, variables: Sequence[Variable]
    ) -> None:
        self._dashboard = (
            _builders("dashboard")
            .Dashboard(title)
            .uid(uid)
            .description(description)
            .tags(["metertap"])
            .editable()
            .timezone("browser")
            .refresh("10s")
            .time("now-30m", "now")
            .tooltip(_models("dashboard").DashboardCursorSync.CROSSHAIR)
            .link(
                _builders("dashboard")
                .DashboardLink("metertap")
                .type(_models("dashboard").DashboardLinkType.DASHBOARDS)
                .tags(["metertap"])
                .as_dropdown(True)
                .include_vars(True)
                .keep_time(True)
            )
            .with_variable(
                _builders("dashboard")
                .DatasourceVariable("datasource")
                .label("Data source")
                .type("prometheus")
            )
        )
        self._panels = 0
        for variable in variables:
            self._dashboard.with_variable(self._variable(variable))

    def row(self, title: str) -> None:
        """Add a heading."""
        self._panels += 1
        self._dashboard.with_row(_builders("dashboard").Row(title).id(self._panels))

    def stat(
        self,
        title: str,
        description: str,
        unit: str,
        expr: str,
        *,
        span: int = 4,
        colours: Colours | None = None,
    ) -> None:
        """Add a panel of one figure of now, with its course behind it."""
        common = _models("common")
        panel = self._panel("stat", title, description, unit, [Query(expr)], span=span, height=4)
        mode = common.BigValueColorMode.VALUE if colours else common.BigValueColorMode.NONE
        panel.graph_mode(common.BigValueGraphMode.AREA).color_mode(mode)
        panel.thresholds(_thresholds(colours))
        panel.reduce_options(_builders("common").ReduceDataOptions().calcs(["lastNotNull"]))
        panel.no_value("no data")
        self._dashboard.with_panel(panel)

    def series(
        self,
        title: str,
        description: str,
        unit: str,
        *queries: Query,
        span: int = 12,
        stacked: bool = False,
        rare: bool = False,
    ) -> None:
        """Add a panel of lines over time, or of areas that are stacked.

        A share has an axis up to 100 %; one that is `rare`, as far as it goes, and at least 10 %.
        """
        common = _models("common")
        wide = span >= _WIDTH // 2
        panel = self._panel(
            "timeseries", title, description, unit, queries, span=span, height=_HEIGHT
        )
        panel.line_width(1).show_points(common.VisibilityMode.NEVER).min(0)
        panel.fill_opacity(30 if stacked else 5)
        if stacked:
            panel.stacking(_builders("common").StackingConfig().mode(common.StackingMode.NORMAL))
        if rare:
            panel.axis_soft_max(0.1)
        elif unit == "percentunit":
            panel.max(1)
        panel.legend(
            _builders("common")
            .VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.RIGHT if wide else common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
            .sort_by("Last *")  # what Grafana calls lastNotNull
            .sort_desc(True)
        )
        panel.tooltip(
            _builders("common")
            .VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        self._dashboard.with_panel(panel)

    def heatmap(self, title: str, description: str, expr: str, *, span: int = 12) -> None:
        """Add a heatmap: how many observations fell into each bucket, over time."""
        heatmap = _builders("heatmap")
        query = self._query(Query(expr, "{{le}}"), "A")
        query.format(_models("prometheus").PromQueryFormat.HEATMAP)
        panel = self._panel("heatmap", title, description, "short", [], span=span, height=_HEIGHT)
        panel.with_target(query)
        panel.calculate(False)
        panel.y_axis(heatmap.YAxisConfig().unit("s"))
        panel.color(
            heatmap.HeatmapColorOptions()
            .mode(_models("heatmap").HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .fill("dark-orange")
            .exponent(0.5)
            .steps(64)
        )
        self._dashboard.with_panel(panel)

    def table(
        self,
        title: str,
        description: str,
        columns: Mapping[str, tuple[str, str]],
        labels: Mapping[str, str],
        *,
        span: int = 12,
    ) -> None:
        """Add a table: `columns` has the unit and expression of each, `labels` what names a row.

        The rows are those of the first column, the highest at the top.
        """
        dashboard = _models("dashboard")
        panel = self._panel("table", title, description, "short", [], span=span, height=_HEIGHT)
        names: dict[str, str] = dict(labels)
        _, first = next(iter(columns.values()))
        for letter, (name, (unit, expr)) in zip("ABCDEFGH", columns.items(), strict=False):
            same_rows = f"({expr}) and on ({', '.join(labels)}) ({first})"
            query = self._query(Query(expr if letter == "A" else same_rows), letter).instant()
            panel.with_target(query.format(_models("prometheus").PromQueryFormat.TABLE))
            names["Value" if len(columns) == 1 else f"Value #{letter}"] = name
            panel.override_by_name(name, [dashboard.DynamicConfigValue("unit", unit)])
        order = {column: index for index, column in enumerate(names)}
        if len(columns) > 1:
            panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        panel.with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": order,
                    "renameByName": names,
                },
            )
        )
        panel.with_transformation(
            dashboard.DataTransformerConfig(
                id_val="sortBy",
                options={"fields": {}, "sort": [{"field": next(iter(columns)), "desc": True}]},
            )
        )
        self._dashboard.with_panel(panel)

    def text(self) -> str:
        """Write the dashboard as JSON, byte for byte the same for the same content."""
        encoder = import_module(f"{PACKAGE}.cog.encoder").JSONEncoder
        document = dumps(self._dashboard.build(), cls=encoder, sort_keys=True, indent=2)
        return document + "\n"

    def _panel(
        self,
        kind: str,
        title: str,
        description: str,
        unit: str,
        queries: Sequence[Query],
        *,
        span: int,
        height: int,
    ) -> Any:
        self._panels += 1
        panel = _builders(kind).Panel().id(self._panels).title(title).description(description)
        panel.unit(unit).span(min(span, _WIDTH)).height(height).datasource(_datasource())
        for letter, query in zip("ABCDEFGH", queries, strict=False):
            panel.with_target(self._query(query, letter))
        return panel

    def _query(self, query: Query, letter: str) -> Any:
        made = _builders("prometheus").Dataquery().expr(query.expr).ref_id(letter).range()
        if query.legend:
            made.legend_format(query.legend)
        return made.datasource(_datasource())

    def _variable(self, variable: Variable) -> Any:
        dashboard = _models("dashboard")
        made = (
            _builders("dashboard")
            .QueryVariable(variable.name)
            .label(variable.label)
            .query(variable.query)
            .datasource(_datasource())
            .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        )
        if variable.many:
            everything = dashboard.VariableOption(selected=True, text="All", value="$__all")
            made.multi(True).include_all(True).current(everything)
        if variable.all_value is not None:
            made.all_value(variable.all_value)
        return made


def _thresholds(colours: Colours | None) -> Any:
    """Set where colours change; by default Grafana shows figures from 80 on in red."""
    dashboard = _models("dashboard")
    steps = [dashboard.Threshold(color=colours.below if colours else "green")]
    if colours:
        steps.append(dashboard.Threshold(value=colours.limit, color=colours.above))
    return (
        _builders("dashboard")
        .ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps(steps)
    )


def _datasource() -> Any:
    return _models("dashboard").DataSourceRef(type_val="prometheus", uid=_DATASOURCE)
