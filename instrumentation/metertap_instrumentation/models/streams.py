"""Watched streams: an iterator in place of the client's own, which looks at each item.

The client's stream stays the same object, with its type, attributes, context manager and `close`.
Only the iterator inside it is replaced. It hands on each item, and ends the model's call when the
stream ends, fails, is closed, or is dropped half-read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from metertap import faults
from metertap.patching.tracebacks import hide_frame

See = Callable[[Any, Any], None]
"""A function that takes the usage from an item of a stream. It gets the call first."""


class Call(Protocol):
    """A `ModelCall`, or what else is to know when a stream is over."""

    model: str
    """The model that answered, as far as it is known."""

    def end(self, error: BaseException | None = None, *, in_finaliser: bool = False) -> None:
        """End the call; `error` is what the stream raised."""


Telling = tuple[str, str]
"""Two fields of items: one that has neither says nothing more than the name of the model.

A stream has hundreds of items. To see that costs a tenth of a microsecond, and no call.
"""

ENDS = (StopIteration, StopAsyncIteration, GeneratorExit)
"""Exceptions of an iterator that are its end, and no failure."""


class _Watched:
    """The common part of watched iterators, plain and async."""

    __slots__ = (
        "__weakref__",
        "_call",
        "_is_over",
        "_iterator",
        "_see",
        "_telling",
        "_wanted",
    )

    def __init__(self, iterator: Any, call: Call, see: See, telling: Telling | None) -> None:
        self._iterator = iterator
        self._call = call
        self._is_over = False
        self._see = see
        self._telling = telling
        self._wanted: Telling | None = None  # every item is looked at until one names the model

    def over(self, error: BaseException | None = None) -> None:
        """End the model's call; `error` is what the stream raised."""
        self._is_over = True
        self._call.end(error)

    def _look(self, item: Any) -> None:
        """Take what an item tells. Never raises."""
        try:
            self._see(self._call, item)
            if self._call.model:
                self._wanted = self._telling
        except Exception as fault:
            faults.fault("model stream", fault)

    def _raised(self, error: BaseException) -> None:
        with faults.guarded("model stream"):
            hide_frame(error)
            self.over(None if isinstance(error, ENDS) else error)

    def __getattr__(self, name: str) -> Any:
        if name in _Watched.__slots__:  # it was never made
            raise AttributeError(name)
        return getattr(self._iterator, name)

    def __del__(self) -> None:
        try:
            if not self._is_over:
                self._call.end(in_finaliser=True)
        except Exception as fault:
            if faults is not None:  # else Python ends, and its modules are empty
                faults.fault("model stream", fault)


# The look at an item is written out in both: a call for each item would cost more than the look.


class WatchedIterator(_Watched):
    """Iterator over a stream of a sync client, which looks at each item."""

    __slots__ = ()

    def __iter__(self) -> WatchedIterator:
        return self

    def __next__(self) -> Any:
        try:
            item = self._iterator.__next__()
        except BaseException as error:
            self._raised(error)
            raise
        wanted = self._wanted
        try:
            get = item.__dict__.get
            if wanted is None or get(wanted[0]) is not None or get(wanted[1]) is not None:
                self._look(item)
        except Exception:  # it keeps its fields elsewhere
            self._look(item)
        return item


class WatchedAsyncIterator(_Watched):
    """Iterator over a stream of an async client, which looks at each item."""

    __slots__ = ()

    def __aiter__(self) -> WatchedAsyncIterator:
        return self

    async def __anext__(self) -> Any:
        try:
            item = await self._iterator.__anext__()
        except BaseException as error:
            self._raised(error)
            raise
        wanted = self._wanted
        try:
            get = item.__dict__.get
            if wanted is None or get(wanted[0]) is not None or get(wanted[1]) is not None:
                self._look(item)
        except Exception:  # it keeps its fields elsewhere
            self._look(item)
        return item


def watch(iterator: Any, call: Call, see: See, telling: Telling | None = None) -> _Watched:
    """Return a watched iterator over `iterator`, which may be async.

    `telling` are the fields by which an item has something for `see`. Without them it sees each.
    """
    made = WatchedAsyncIterator if hasattr(iterator, "__anext__") else WatchedIterator
    return made(iterator, call, see, telling)


def over(iterator: Any) -> None:
    """End the call of a stream that is closed, if `iterator` is one that is watched."""
    if isinstance(iterator, _Watched) and not iterator._is_over:
        iterator.over()
