"""Recording: series, windows and the recorder that holds them."""

from metertap.recording.caches import CacheFigures, CacheSeries
from metertap.recording.figures import Figures, LatencyFigures, ToolFigures
from metertap.recording.labels import as_label
from metertap.recording.recorder import Recorder
from metertap.recording.series import ToolSeries
from metertap.recording.window import Percentiles, percentiles

__all__ = [
    "CacheFigures",
    "CacheSeries",
    "Figures",
    "LatencyFigures",
    "Percentiles",
    "Recorder",
    "ToolFigures",
    "ToolSeries",
    "as_label",
    "percentiles",
]
