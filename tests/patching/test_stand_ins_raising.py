"""Errors that pass a stand-in show the frames that they show without it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
import traceback
from typing import Any

import pytest

from support.stand_in_shop import EVERY, Both, Get, arguments_of, each

pytestmark = pytest.mark.interpreter


ERRORS = (KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit, KeyError)


class Raising:
    """Raises when it is multiplied."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __rmul__(self, number: int) -> int:
        raise self.error


def stepped(made: Any) -> None:
    """Run a call to its first step, without a loop, which has frames and ideas of its own."""
    if inspect.iscoroutine(made):
        made.send(None)
    elif inspect.isgenerator(made):
        next(made)
    elif inspect.isasyncgen(made):
        made.asend(None).send(None)


def thrown(made: Any, error: BaseException) -> None:
    if inspect.isasyncgen(made):
        made.athrow(error).send(None)
    else:
        made.throw(error)


def frames(error: BaseException) -> list[tuple[str, str]]:
    return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before, a frame cannot be hidden")
@each(EVERY)
def test_an_error_shows_the_frames_that_it_shows_of_the_bare_one(both: Both, get: Get) -> None:
    def shown(module: Any, kind: type[BaseException]) -> list[tuple[str, str]]:
        error = kind("odd")
        with pytest.raises(kind) as raised:
            stepped(get(module)(*arguments_of(get, module)[:-1], 4, times=Raising(error)))
        assert raised.value is error
        return frames(error)

    for kind in ERRORS:
        expected = shown(both.bare, kind)
        assert expected[-1][1] == "__rmul__"
        assert shown(both.measured, kind) == expected


STREAMS = {name: get for name, get in EVERY.items() if "stream" in name or "items" in name}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before, a frame cannot be hidden")
@each({**STREAMS, **{name: get for name, get in EVERY.items() if "wrapped" in name}})
def test_an_error_thrown_into_a_generator_shows_the_frames_that_it_shows_of_the_bare_one(
    both: Both, get: Get
) -> None:
    def shown(module: Any, kind: type[BaseException]) -> list[tuple[str, str]]:
        made = get(module)(*arguments_of(get, module))
        with contextlib.suppress(StopIteration):  # by which an async generator gives its item
            stepped(made)
        with pytest.raises(kind) as raised:
            thrown(made, kind("odd"))
        return frames(raised.value)

    for kind in ERRORS:
        assert shown(both.measured, kind) == shown(both.bare, kind)
