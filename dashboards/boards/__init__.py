"""The definitions of the dashboards in `dashboards/provisioning`, on `grafana-foundation-sdk`."""

from __future__ import annotations

from dashboards.boards import caches, costs, one_tool, tools

_BOARDS = {
    "tools.json": tools.board,
    "tool.json": one_tool.board,
    "caches.json": caches.board,
    "costs.json": costs.board,
}


def texts() -> dict[str, str]:
    """Return the JSON of each dashboard, by the name of its file."""
    return {name: board().text() for name, board in _BOARDS.items()}
