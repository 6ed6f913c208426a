"""Trends as a picture, drawn by matplotlib (extra `plot`); no other module imports matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from metertap.history.answers import Slice
from metertap.history.trends import Trend, Trends, milliseconds, percent
from metertap.install_command import install_command
from metertap.replacing import replace
from metertap.text import printable

_FORMATS = (".png", ".svg")
_MOST = 8
"""The most tools and caches that get a colour of their own: the most used ones."""


class PlotError(Exception):
    """A picture that cannot be drawn; the text is one line for people."""


def plot(found: Trends, file: Path) -> None:
    """Draw latencies, calls, errors and hit rates over time. Raises PlotError."""
    if file.suffix.lower() not in _FORMATS:
        raise PlotError(f"--plot takes a file that ends in {' or '.join(_FORMATS)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotError(f"--plot needs one more package: {install_command('plot')}") from None
    calls, caches = [*found.of("tool"), *found.of("operation")][:_MOST], found.of("cache")[:_MOST]
    panels = ["latency", "calls", "errors"] if calls else []
    panels += ["hits"] if caches else []
    figure = Figure(figsize=(11, 2.4 * len(panels) + 0.6), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for name, place in zip(panels, axes, strict=True):
        _draw(place, name, found, caches if name == "hits" else calls)
        for version in found.versions:
            if version.first_seen >= found.since:
                place.axvline(_time(version.first_seen), color="0.4", linewidth=0.8, linestyle="--")
    for version in found.versions:
        at = _time(max(found.since, version.first_seen))
        where = ("data", "axes fraction")
        axes[0].annotate(
            _shown(version.version),
            (at, 1.02),
            xycoords=where,
            fontsize=8,
            annotation_clip=False,
        )
    axes[-1].set_xlim(_time(found.since), _time(found.until))
    picture = io.BytesIO()
    figure.savefig(picture, format=file.suffix[1:].lower(), dpi=130)
    try:
        replace(file, picture.getvalue())
    except OSError as error:
        raise PlotError(f"{file} cannot be written: {error.strerror or error}") from None
    except ValueError as error:
        raise PlotError(str(error)) from None


def _draw(axes: Any, panel: str, found: Trends, trends: Sequence[Trend]) -> None:
    is_one = len(trends) == 1
    for trend in trends:
        name = _shown(" ".join(filter(None, (trend.subject.name, trend.version))))
        if panel == "latency":
            for at, style in ((50, ":"), (95, "-"), (99, "--")) if is_one else ((95, "-"),):
                values = [milliseconds(each, at) for each in trend.slices]
                _line(axes, found, trend, values, f"{name} p{at}", style)
        else:
            values = [_value(panel, each) for each in trend.slices]
            _line(axes, found, trend, values, name, "-")
    title = {
        "latency": "latency, ms" if is_one else "p95, ms",
        "calls": "calls/s",
        "errors": "failed, %",
        "hits": "hit rate, %",
    }
    axes.set_ylabel(title[panel])
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", linewidth=0.4)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _shown(name: str) -> str:
    """Return a name as matplotlib draws it: no formula, and not left out of the legend."""
    text = printable(name, 40).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _value(panel: str, of: Slice) -> float | None:
    if panel == "calls":
        return of.calls / (of.end - of.start)
    return percent(of.hit_rate if panel == "hits" else of.error_rate)


def _line(
    axes: Any, found: Trends, trend: Trend, values: Sequence[float | None], label: str, style: str
) -> None:
    """Draw a line that is broken where there is no data."""
    known = {each.start: value for each, value in zip(trend.slices, values, strict=True)}
    starts = found.starts()
    points = [float("nan") if (value := known.get(at)) is None else value for at in starts]
    middles = [_time(at + found.step / 2) for at in starts]
    axes.plot(middles, points, style, label=label, linewidth=1.3, marker=".", markersize=3)


def _time(unix_seconds: float) -> datetime:
    return datetime.fromtimestamp(unix_seconds)
