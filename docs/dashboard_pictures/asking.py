"""The figures of a dashboard's panels, asked of a Prometheus as Grafana would ask it."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

SHOWN_SECONDS = 300
SCRAPE_SECONDS = 5

_RANGES = {
    "$__rate_interval": f"{4 * SCRAPE_SECONDS}s",  # what Grafana makes of the scrape interval
    "$__range": f"{SHOWN_SECONDS}s",
}
_LIST = re.compile(r"label_values\((.+), (\w+)\)")
_LABEL = re.compile(r"{{(\w+)}}")


class Store:
    """A Prometheus, and the time that the pictures show, which ends when this is made."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = build_opener(ProxyHandler({}))
        self.end = time.time() // SCRAPE_SECONDS * SCRAPE_SECONDS
        self.begin = self.end - SHOWN_SECONDS

    def values(self, series: str, label: str) -> list[str]:
        """List every value of a label."""
        found: list[str] = self._get(f"label/{label}/values", **{"match[]": series})
        return found

    def now(self, expression: str) -> list[dict[str, Any]]:
        """Send an instant query."""
        found: list[dict[str, Any]] = self._get("query", query=expression, time=self.end)["result"]
        return found

    def course(self, expression: str) -> list[dict[str, Any]]:
        """Send a query over the time shown."""
        times = {"start": self.begin, "end": self.end, "step": SCRAPE_SECONDS}
        found: list[dict[str, Any]] = self._get("query_range", query=expression, **times)["result"]
        return found

    def _get(self, path: str, **parameters: Any) -> Any:
        with self._opener.open(f"{self._url}/api/v1/{path}?{urlencode(parameters)}") as response:
            return json.load(response)["data"]


class Line:
    """A series of a panel: its name, and its values over time."""

    def __init__(self, name: str, values: list[tuple[float, str]]) -> None:
        self.name = name
        self.points = {at: float(value) for at, value in values if value != "NaN"}

    @property
    def last(self) -> float:
        return list(self.points.values())[-1]

    @property
    def most(self) -> float:
        return max(self.points.values())


class Board:
    """A dashboard whose lists at the top stand at "All"."""

    def __init__(self, store: Store, document: dict[str, Any]) -> None:
        self.document = document
        self._store = store
        self._filled = dict(_RANGES)
        for variable in document["templating"]["list"]:
            if variable["type"] == "query":
                match = _LIST.fullmatch(variable["query"])
                assert match is not None, variable
                values = store.values(self._with(match[1]), match[2])
                every = "|".join(re.escape(value).replace("\\", "\\\\") for value in values)
                self._filled[f"${variable['name']}"] = variable.get("allValue") or f"({every})"

    def _with(self, expression: str) -> str:
        for name, value in self._filled.items():
            expression = expression.replace(name, value)
        assert "$" not in expression, expression
        return expression

    def lines(self, panel: dict[str, Any]) -> list[Line]:
        """Ask for the series of a panel."""
        found = []
        for target in panel["targets"]:
            for series in self._store.course(self._with(target["expr"])):
                name = target.get("legendFormat", "")
                for label in _LABEL.findall(name):
                    name = name.replace(f"{{{{{label}}}}}", series["metric"].get(label, ""))
                found.append(Line(name, series["values"]))
        return [line for line in found if line.points]

    def rows(self, panel: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
        """Ask for a table, and apply its transformations (merge, organize, sortBy)."""
        merged: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}
        for target in panel["targets"]:
            value = "Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"
            for series in self._store.now(self._with(target["expr"])):
                labels = series["metric"]
                row = merged.setdefault(frozenset(labels.items()), dict(labels))
                row[value] = float(series["value"][1])
        steps = {step["id"]: step["options"] for step in panel["transformations"]}
        names, order = (steps["organize"][key] for key in ("renameByName", "indexByName"))
        columns = [names[name] for name in sorted(names, key=order.get)]
        rows = [{names[name]: cell for name, cell in row.items()} for row in merged.values()]
        for sort in steps["sortBy"]["sort"]:
            rows.sort(key=lambda row: row[sort["field"]], reverse=sort["desc"])
        return columns, rows
