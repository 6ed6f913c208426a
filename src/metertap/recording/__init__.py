"""Recording: series, windows and the recorder that holds them."""

from metertap.recording.caches import CacheFigures, CacheSeries
from metertap.recording.recorder import Figures, Recorder
from metertap.recording.series import ToolFigures, ToolSeries
from metertap.recording.window import Percentiles, percentiles

__all__ = [
    "CacheFigures",
    "CacheSeries",
    "Figures",
    "Percentiles",
    "Recorder",
    "ToolFigures",
    "ToolSeries",
    "percentiles",
]
