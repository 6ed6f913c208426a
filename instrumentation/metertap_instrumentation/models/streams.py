"""Watched streams: an iterator in place of the client's own, which looks at each item.

The client's stream stays the same object, with its type, attributes, context manager and `close`.
Only the iterator inside is replaced. It passes each item on, and ends the model's call when the
stream ends, fails, is closed, or is dropped half-read.

A generator of which not all items have to be looked at is watched by another generator, whose steps
take a quarter of the time of a `__next__` of ours. Other iterators may go on after they have
raised, which generators never do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType, GeneratorType
from typing import Any, Protocol, cast

from metertap import faults
from metertap.patching.tracebacks import hide_frame

See = Callable[[Any, Any], None]
"""A function that takes the usage from an item of a stream; its arguments: call, item."""


class Call(Protocol):
    """A `ModelCall`, or another object that must know when a stream is over."""

    model: str
    """The model that answered, as far as it is known."""

    def end(self, error: BaseException | None = None, *, in_finaliser: bool = False) -> None:
        """End the call; `error` is what the stream raised."""


Telling = tuple[str, str]
"""Two fields of items: an item with neither tells at most the model, in a field of that name.

A stream has hundreds of items. This test takes a tenth of a microsecond, without a call.
"""
_PLACE = "model stream"

ENDS = (StopIteration, StopAsyncIteration, GeneratorExit)
"""Exceptions that are the end of an iterator, and no failure."""


def _look(call: Call, see: See, item: Any) -> None:
    """Take what an item tells. Never raises."""
    try:
        see(call, item)
    except Exception as fault:
        faults.fault(_PLACE, fault)


def _end(call: Call, error: BaseException | None = None) -> None:
    """End a call whose stream is over; `error` is its exception. Never raises."""
    try:
        call.end(error)
    except Exception as fault:
        faults.fault(_PLACE, fault)


# Looking at an item is inlined twice: a call for each item would cost more.


def _generator(iterator: Any, call: Call, see: See, telling: Telling) -> Iterator[Any]:
    """Pass on the items of a generator, after a first `next` that returns none of them."""
    one, other = telling
    is_named = False
    try:
        yield None  # from here on, Python raises GeneratorExit here when it is dropped
        for item in iterator:
            try:
                get = item.__dict__.get
                if not (get(one) is None is get(other)):
                    _look(call, see, item)
                elif not is_named and isinstance(model := get("model"), str):
                    call.model, is_named = model, bool(model)
            except Exception:  # its fields are elsewhere
                _look(call, see, item)
            yield item
    except GeneratorExit:
        try:
            call.end(in_finaliser=True)
        except Exception as fault:
            if faults is not None:  # else Python is finalising, and its modules are empty
                faults.fault(_PLACE, fault)
        raise
    except BaseException as error:
        hide_frame(error)
        _end(call, error)
        raise
    else:
        _end(call)


class _Watched:
    """The common part of other watched iterators, sync and async."""

    __slots__ = ("__weakref__", "_call", "_is_over", "_iterator", "_see", "_telling")

    def __init__(self, iterator: Any, call: Call, see: See, telling: Telling | None) -> None:
        self._iterator = iterator
        self._call = call
        self._is_over = False
        self._see = see
        self._telling = telling

    def over(self, error: BaseException | None = None) -> None:
        """End the model's call; `error` is the stream's exception."""
        self._is_over = True
        _end(self._call, error)

    def _raised(self, error: BaseException) -> None:
        with faults.guarded(_PLACE):
            hide_frame(error)
            self.over(None if isinstance(error, ENDS) else error)

    def __getattr__(self, name: str) -> Any:
        if name in _Watched.__slots__:  # `__init__` was not called
            raise AttributeError(name)
        return getattr(self._iterator, name)

    def __del__(self) -> None:
        try:
            if not self._is_over:
                self._call.end(in_finaliser=True)
        except Exception as fault:
            if faults is not None:  # as above
                faults.fault(_PLACE, fault)


class WatchedIterator(_Watched):
    """Iterator over another stream of a sync client, which looks at each item."""

    __slots__ = ()

    def __iter__(self) -> WatchedIterator:
        return self

    def __next__(self) -> Any:
        try:
            item = self._iterator.__next__()
        except BaseException as error:
            self._raised(error)
            raise
        _look(self._call, self._see, item)
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
        call, telling = self._call, self._telling
        try:
            get = item.__dict__.get
            tells = telling is None or not (get(telling[0]) is None is get(telling[1]))
            if not tells and not call.model and isinstance(model := get("model"), str):
                call.model = model
        except Exception:
            tells = True
        if tells:
            _look(call, self._see, item)
        return item


def watch(iterator: Any, call: Call, see: See, telling: Telling | None = None) -> Any:
    """Return a watched iterator over `iterator`, which may be async.

    `see` gets the items that have a field of `telling`; without that, all items.
    """
    if telling is not None and type(iterator) is GeneratorType:
        generator = _generator(iterator, call, see, telling)
        next(generator)
        return generator
    made = WatchedAsyncIterator if hasattr(iterator, "__anext__") else WatchedIterator
    return made(iterator, call, see, telling)


def over(iterator: Any) -> None:
    """End the call of a stream that is closed, if `iterator` is a watched one."""
    if type(iterator) is GeneratorType:
        frame = iterator.gi_frame  # only its frame leads to what it watches
        if frame is not None and frame.f_code is _CODE:
            frame.f_locals["call"].end()
    elif isinstance(iterator, _Watched) and not iterator._is_over:
        iterator.over()


_CODE = cast(FunctionType, _generator).__code__
