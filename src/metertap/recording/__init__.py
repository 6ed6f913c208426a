"""Recording: series, windows and the recorder that holds them."""

from metertap.labels import as_label
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
from metertap.recording.percentiles import Percentiles, percentiles
from metertap.recording.recorder import Recorder
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
    "ToolFigures",
    "ToolSeries",
    "WeightFigures",
    "WeightSeries",
    "as_label",
    "percentiles",
]
