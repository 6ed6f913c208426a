"""Changes of figures with windows, from one worker to another: only samples that are new."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from metertap import outcomes
from metertap.recording import LatencyFigures, OperationFigures, ToolFigures, WeightFigures
from metertap.recording.window import Window
from metertap.workers.merging import OperationPart, Part, ToolPart, WeightPart
from metertap.workers.wire import Malformed, Samples

_OUTCOMES = frozenset(outcomes.ALL)
_LARGEST_WINDOW = 1_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of one window in the order in which they came: all of them, or the new ones."""

    size: int
    is_all: bool
    samples: Samples


_NOTHING = Piece(0, False, Samples(array("d")))


@dataclass(frozen=True, slots=True)
class ToolNews:
    """Changes of one tool."""

    figures: ToolFigures
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class OperationNews:
    """Changes of MCP operations or sessions."""

    figures: OperationFigures
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class WeightNews:
    """Changes of a tool's weight."""

    figures: WeightFigures
    pieces: tuple[Piece, ...]


def of_tool(before: ToolPart | None, now: ToolPart) -> ToolNews:
    """Return what somebody has to be told who knows what was before."""
    return ToolNews(now.figures, _pieces(before, now))


def of_operation(before: OperationPart | None, now: OperationPart) -> OperationNews:
    """Return what somebody has to be told who knows what was before."""
    return OperationNews(now.figures, _pieces(before, now))


def of_weight(before: WeightPart | None, now: WeightPart) -> WeightNews:
    """Return what somebody has to be told who knows what was before."""
    return WeightNews(now.figures, _pieces(before, now))


def tool_with(news: ToolNews, held: ToolPart | None) -> ToolPart:
    """Return what is known after the news. Raises Malformed; the windows of `held` are taken."""
    if news.figures.counts.keys() != _OUTCOMES:
        raise Malformed("the outcomes are others")
    return ToolPart(news.figures, _windows(news.pieces, held))


def operation_with(news: OperationNews, held: OperationPart | None) -> OperationPart:
    """Return what is known after the news. Raises Malformed; the windows of `held` are taken."""
    return OperationPart(news.figures, _windows(news.pieces, held))


def weight_with(news: WeightNews, held: WeightPart | None) -> WeightPart:
    """Return what is known after the news. Raises Malformed; the windows of `held` are taken."""
    return WeightPart(news.figures, _windows(news.pieces, held))


def _pieces(before: Part | None, now: Part) -> tuple[Piece, ...]:
    known = () if before is None else before.windows
    totals = (0,) * len(now.windows) if before is None else _totals(before)
    return tuple(
        _piece(known[place] if place < len(known) else None, window, new - old)
        for place, (window, old, new) in enumerate(
            zip(now.windows, totals, _totals(now), strict=False)
        )
    )


def _piece(before: Window | None, now: Window, new: int) -> Piece:
    count = len(now)
    if not count and before is not None and before.size == now.size and not len(before):
        return _NOTHING
    is_all = (
        before is None
        or now.size != before.size
        or not 0 <= new < count
        or count != min(now.size, len(before) + new)  # counting began anew
    )
    samples = now.newest(count if is_all else new) if count and (is_all or new) else []
    return Piece(now.size, is_all, Samples(array("d", samples)))


def _totals(part: Part) -> Sequence[int]:
    """Return how many samples there ever were, by window."""
    figures = part.figures
    if isinstance(figures, OperationFigures):
        return (figures.calls,)
    if isinstance(figures, WeightFigures):
        return (figures.results,)
    hit, missed = figures.with_cache or (None, None)
    return (figures.sampled, _calls(hit), _calls(missed), _calls(figures.first_item))


def _calls(figures: LatencyFigures | None) -> int:
    return 0 if figures is None else figures.calls


def _windows(pieces: Sequence[Piece], held: Part | None) -> tuple[Window, ...]:
    windows = []
    for place, piece in enumerate(pieces):
        if piece.is_all:
            if not 0 < piece.size <= _LARGEST_WINDOW:
                raise Malformed("a window has no such size")
            window = Window(piece.size)
        elif held is None or place >= len(held.windows):
            raise Malformed("a window lacks its beginning")
        else:
            window = held.windows[place]
        if len(piece.samples):
            window.add_milliseconds(piece.samples.values)
        windows.append(window)
    return tuple(windows)
