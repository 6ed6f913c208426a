"""Recording: series, windows and the recorder that holds them."""

from __future__ import annotations

TYPE_CHECKING = False  # imported at the start of every program
if TYPE_CHECKING:
    from metertap.recording.cache_series import CacheSeries
    from metertap.recording.figures import (
        CacheFigures,
        Figures,
        LatencyFigures,
        OperationFigures,
        ToolFigures,
        WeightFigures,
    )
    from metertap.recording.operation_series import DataPoint
    from metertap.recording.percentiles import Percentiles
    from metertap.recording.recorder import Recorder
    from metertap.recording.routes import Route
    from metertap.recording.tool_series import ToolSeries
    from metertap.recording.weight_series import WeightSeries

__all__ = [
    "CacheFigures",
    "CacheSeries",
    "DataPoint",
    "Figures",
    "LatencyFigures",
    "OperationFigures",
    "Percentiles",
    "Recorder",
    "Route",
    "ToolFigures",
    "ToolSeries",
    "WeightFigures",
    "WeightSeries",
]

_HOMES = {
    "CacheSeries": "cache_series",
    "DataPoint": "operation_series",
    "Percentiles": "percentiles",
    "Recorder": "recorder",
    "Route": "routes",
    "ToolSeries": "tool_series",
    "WeightSeries": "weight_series",
}
"""The module of each name that is not in `figures`."""


def load() -> None:
    """Import every module that is otherwise imported on first use.

    A forked child could never import a module that another thread was importing at the fork, and
    metertap's own threads must not import anything.
    """
    for name in __all__:
        __getattr__(name)


def __getattr__(name: str) -> object:
    # Imported on first use: most modules are needed only once something is recorded, or read.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'figures')}")
    value = globals()[name] = getattr(home, name)
    return value
