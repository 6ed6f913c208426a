"""Pauses in long computations of views, so that the program's own threads run meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from metertap import threads

T = TypeVar("T")

_SECONDS = 0.00005
_PIECE = 100
"""Items between two pauses, where each item takes a few microseconds."""


def pause() -> None:
    """Let other threads run: a waiting one gets the interpreter now, and not after 5 ms."""
    threads.sleep(_SECONDS)


def paced(items: Iterable[T]) -> Iterator[T]:
    """Yield each item, with a pause after every hundred. Not to be used while holding a lock."""
    for number, item in enumerate(items):
        if number % _PIECE == 0 and number:
            pause()
        yield item
