"""A page that looks like a dashboard, with each panel where the dashboard's grid has it."""

from __future__ import annotations

import json
import re
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from asking import SHOWN_SECONDS, Board, Line, Store
from figures import COLOURS, INK, by_threshold, faded, shown, ticks

_CELL, _GAP = 30, 8
_HIDDEN = {"visible": False}
_HEAT = ((0, "#3b2113"), (0.3, "#a33b03"), (0.7, "#f16913"), (1, "#fdd0a2"))


class Drawing:
    """Draws one page."""

    def __init__(self, store: Store, document: dict[str, Any]) -> None:
        self._board = Board(store, document)
        self._times = [store.begin * 1000, store.end * 1000]
        self._plots: list[dict[str, Any]] = []

    def page(self) -> str:
        document = self._board.document
        lists = "".join(
            f"<span><b>{escape(variable['label'])}</b>"
            f"<i>{'All' if variable['type'] == 'query' else 'Prometheus'}</i></span>"
            for variable in document["templating"]["list"]
        )
        panels = "".join(self._panel(panel) for panel in document["panels"])
        parts = {
            "TITLE": escape(document["title"]),
            "TIME": f"Last {SHOWN_SECONDS // 60} minutes",
            "LISTS": lists,
            "PANELS": panels,
            "PLOTS": json.dumps(self._plots),
            "LIBRARY": import_module("plotly.offline").get_plotlyjs(),
        }
        page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        return re.sub("|".join(f"@{name}@" for name in parts), lambda at: parts[at[0][1:-1]], page)

    def _panel(self, panel: dict[str, Any]) -> str:
        grid, kind, title = panel["gridPos"], panel["type"], escape(panel["title"])
        place = (
            f"grid-area: {grid['y'] + 1} / {grid['x'] + 1} / span {grid['h']} / span {grid['w']};"
            f"height: {grid['h'] * (_CELL + _GAP) - _GAP}px"
        )
        if kind == "row":
            return f'<h2 style="{place}">{title}</h2>'
        body = getattr(self, f"_{kind}")(panel)
        return f'<section class="{kind}" style="{place}"><h3>{title}</h3>{body}</section>'

    def _plot(self, data: list[dict[str, Any]], **layout: Any) -> str:
        self._plots.append({"data": data, "layout": layout})
        return f'<div class="plot" id="plot{len(self._plots) - 1}"></div>'

    def _stat(self, panel: dict[str, Any]) -> str:
        defaults = panel["fieldConfig"]["defaults"]
        lines = self._board.lines(panel)
        if not lines:
            return f"<p>{escape(defaults['noValue'])}</p>"
        line = lines[0]
        colour = by_threshold(panel, line.last)
        ink = INK if panel["options"]["colorMode"] == "none" else colour
        least = min(line.points.values())
        room = (line.most - least) * 0.1 or 1
        plot = self._plot(
            [_trace(line, colour, 20, 1)],
            margin=dict.fromkeys("lrtb", 0),
            xaxis={**_HIDDEN, "range": self._times},
            yaxis={**_HIDDEN, "range": [least - room, line.most + room]},
        )
        return f'<p style="color: {ink}">{shown(line.last, defaults["unit"])}</p>{plot}'

    def _timeseries(self, panel: dict[str, Any]) -> str:
        defaults, legend = panel["fieldConfig"]["defaults"], panel["options"]["legend"]
        custom, unit = defaults["custom"], defaults["unit"]
        stacked = "stacking" in custom
        lines = list(zip(self._board.lines(panel), COLOURS * 9, strict=False))
        if not lines:
            return "<p>No data</p>"
        top = _sum([line for line, _ in lines]) if stacked else max(line.most for line, _ in lines)
        top = defaults.get("max", max(top * 1.04, custom.get("axisSoftMax", 0))) or 1
        values = ticks(top)
        plot = self._plot(
            [_trace(line, colour, custom["fillOpacity"], 1.4, stacked) for line, colour in lines],
            xaxis={"range": self._times},
            yaxis={
                "range": [0, top],
                "tickvals": values,
                "ticktext": [shown(value, unit) for value in values],
            },
        )
        lines.sort(key=lambda one: one[0].last, reverse=legend["sortDesc"])
        rows = "".join(
            f'<tr><td><i style="background: {colour}"></i>{escape(line.name)}'
            f"<td>{shown(line.last, unit)}<td>{shown(line.most, unit)}"
            for line, colour in lines
        )
        table = f"<table><tr><th>Name<th>Last *<th>Max{rows}</table>"
        return f'<div class="{legend["placement"]}">{plot}<div>{table}</div></div>'

    def _heatmap(self, panel: dict[str, Any]) -> str:
        lines = sorted(self._board.lines(panel), key=lambda line: float(line.name))
        unit, exponent = panel["options"]["yAxis"]["unit"], panel["options"]["color"]["exponent"]
        times = sorted({at for line in lines for at in line.points})
        cells: list[list[float | None]] = []
        below = dict.fromkeys(times, 0.0)
        for line in lines:  # A bucket counts what is in those below it too.
            cells.append([max(line.points[at] - below[at], 0) ** exponent or None for at in times])
            below = line.points
        names = [
            line.name if line.name == "+Inf" else shown(float(line.name), unit) for line in lines
        ]
        heat = {
            "type": "heatmap",
            "x": [at * 1000 for at in times],
            "z": cells,
            "colorscale": _HEAT,
            "showscale": False,
            "ygap": 1,
        }
        edges = [number + 0.5 for number in range(len(names))]
        return self._plot(
            [heat],
            xaxis={"range": self._times},
            yaxis={"tickvals": edges, "ticktext": names, "range": [-0.5, len(names)]},
        )

    def _table(self, panel: dict[str, Any]) -> str:
        columns, rows = self._board.rows(panel)
        units = {
            override["matcher"]["options"]: override["properties"][0]["value"]
            for override in panel["fieldConfig"]["overrides"]
        }
        lines = ["".join(f"<th>{escape(name)}" for name in columns)]
        for row in rows:
            cells = [
                shown(row[name], units[name]) if name in units else row[name] for name in columns
            ]
            lines.append("".join(f"<td>{escape(cell)}" for cell in cells))
        return f"<table>{''.join(f'<tr>{line}' for line in lines)}</table>"


def _sum(lines: list[Line]) -> float:
    """Find the highest sum of the lines at any time."""
    times = {at for line in lines for at in line.points}
    return max(sum(line.points.get(at, 0) for line in lines) for at in times)


def _trace(
    line: Line, colour: str, fill: float, width: float, stacked: bool = False
) -> dict[str, Any]:
    made = {
        "x": [at * 1000 for at in line.points],
        "y": list(line.points.values()),
        "mode": "lines",
        "line": {"color": colour, "width": width},
        "fillcolor": faded(colour, fill),
    }
    return {**made, "stackgroup": "one"} if stacked else {**made, "fill": "tozeroy"}
