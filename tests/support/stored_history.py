"""Intervals of a history, and what is read of a file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from metertap.history.answers import By, Slice, Subject
from metertap.history.file_answers import FileAnswers
from metertap.history.store import Run
from metertap.history.tally import Tally

SEARCH = Subject("tool", "search", "mcp")


PRICES = Subject("cache", "prices", "cachetools")


RUN = Run("shop", "1.0", "one")


DAY = 86_400


MIDNIGHT = 20_000 * DAY


MEGABYTE = 1_000_000


def interval(calls: int, seconds: float = 0.1) -> dict[Subject, Tally]:
    tool = Tally({"ok": calls, "exception": 1}, {"ValueError": 1}, extra={"tokens": 2.5})
    tool.sketch().add([seconds] * (calls + 1))
    return {SEARCH: tool, PRICES: Tally(hits=3, misses=1)}


def slices(
    path: Path,
    step: float = DAY,
    since: float = MIDNIGHT,
    until: float = MIDNIGHT + 2 * DAY,
    by: By = "none",
    name: str | None = "search",
    service: str | None = None,
) -> list[Slice]:
    with closing(FileAnswers(path)) as answers:
        return list(
            answers.slices(since=since, until=until, step=step, by=by, name=name, service=service)
        )
