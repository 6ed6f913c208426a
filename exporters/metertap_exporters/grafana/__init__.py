"""Grafana dashboards of metertap's metrics in Prometheus, and a folder that provisions them."""

from __future__ import annotations

from metertap_exporters.grafana import caches, costs, one_tool, tools
from metertap_exporters.grafana.provisioning import DASHBOARDS, dashboards_file, datasources_file

_BOARDS = {
    "tools.json": tools.board,
    "tool.json": one_tool.board,
    "caches.json": caches.board,
    "costs.json": costs.board,
}


def files(prometheus: str) -> dict[str, str]:
    """Write every file, by its path in the provisioning folder.

    `prometheus` is the address at which Grafana finds Prometheus.
    """
    return {
        "datasources/metertap.yaml": datasources_file(prometheus),
        "dashboards/metertap.yaml": dashboards_file(),
        **{f"dashboards/{DASHBOARDS}/{name}": board().text() for name, board in _BOARDS.items()},
    }
