"""Measuring by hand: for handlers and caches that no instrumentor knows.

Every name here works before, after and without `instrument()`; when measuring is disabled it
does nothing. A hand-made record inside a call of the same tool that a patch counts already is
left out, and `metertap doctor` names it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, TypeVar, cast, overload

from metertap import calls, guard, outcome
from metertap._process import is_enabled, recorder
from metertap.calls import Call
from metertap.patching import Wrapper
from metertap.recording import CacheSeries
from metertap.recording.recorder import failed_outcome

SOURCE = "manual"

F = TypeVar("F", bound=Callable[..., Any])


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, name: str | None = None) -> Callable[[F], F]: ...
def tool(function: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
    """Measure a function as a tool: plain, async, generator or async generator.

    `name` defaults to the function's own. Signature, annotations, exceptions and results are the
    function's. A generator is measured from its first step to its last.
    """
    if function is None:
        return functools.partial(_wrap, name=name)
    return _wrap(function, name=name)


def _wrap(function: F, name: str | None) -> F:
    label = name or str(getattr(function, "__name__", type(function).__qualname__))
    wrapper: Any
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine
    else:
        wrapper = _plain
    with guard.guarded("tool"):
        if is_enabled():
            recorder().tool_by_hand(label, SOURCE)  # it is in the document before its first call
    measured: Any = Wrapper(function, functools.partial(wrapper, label))
    return cast(F, measured)


def _plain(label: str, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    with _Measured(label, calls.DECORATOR):
        return wrapped(*args, **kwargs)


async def _coroutine(label: str, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    with _Measured(label, calls.DECORATOR):
        return await wrapped(*args, **kwargs)


def _generator(
    label: str, wrapped: Any, _instance: Any, args: Any, kwargs: Any
) -> Generator[Any, Any, Any]:
    with _Measured(label, calls.DECORATOR, across_yields=True):
        return (yield from wrapped(*args, **kwargs))


async def _async_generator(
    label: str, wrapped: Any, _instance: Any, args: Any, kwargs: Any
) -> AsyncGenerator[Any, Any]:
    # Python has no `yield from` for these: values, exceptions and the closing are passed on.
    with _Measured(label, calls.DECORATOR, across_yields=True):
        async with contextlib.aclosing(wrapped(*args, **kwargs)) as inner:
            try:
                item = await anext(inner)
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        item = await inner.athrow(error)
                    else:
                        item = await inner.asend(sent)
            except StopAsyncIteration:
                return


class _Measured:
    """Context manager of one call measured by hand. Never raises on its own account."""

    __slots__ = ("_across_yields", "_call", "_counted_by", "_label")

    def __init__(self, label: str, counted_by: str, *, across_yields: bool = False) -> None:
        self._label = label
        self._counted_by = counted_by
        self._across_yields = across_yields
        self._call: Call | None = None

    def __enter__(self) -> None:
        with guard.guarded("measure"):
            if not is_enabled():
                return
            if calls.counted_already(self._label, self._counted_by):
                recorder().duplicates.add(self._label)
                return
            call = Call(recorder(), self._label, SOURCE, self._counted_by)
            series = recorder().tool_by_hand(self._label, SOURCE)
            call.start(series, as_current=not self._across_yields)
            self._call = call

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        call = self._call
        if call is not None:
            with guard.guarded("measure"):
                call.finish(error)
        if error is not None and self._counted_by == calls.DECORATOR:
            calls.hide_frame(error)  # of a block it would be the program's own


def measure_tool(name: str) -> contextlib.AbstractContextManager[None]:
    """Measure a block as one call of the tool `name`: `with metertap.measure_tool("search"):`.

    An exception that leaves the block makes it a failed call and passes on unchanged.
    """
    return _Measured(name, calls.BLOCK)


def record_tool_call(
    tool_name: str,
    success: bool,
    latency_ms: float | None = None,
    error_type: str | None = None,
) -> None:
    """Count one call that the program timed itself. `latency_ms` is in milliseconds.

    A failed call without a latency is counted and leaves no sample behind.
    """
    with guard.guarded("record_tool_call"):
        if not is_enabled():
            return
        if calls.counted_already(tool_name):
            recorder().duplicates.add(tool_name)
            return
        series = recorder().tool_by_hand(tool_name, SOURCE)
        if success:
            recorder().record_tool(series, outcome.OK, None, latency_ms)
        else:
            ended = failed_outcome(error_type)
            named = error_type if error_type is not None else outcome.TOOL_ERROR
            recorder().record_tool(series, ended, named, latency_ms)


class CacheMeter:
    """Counts what one cache does. Get one from `metertap.cache_meter(name)` and keep it."""

    __slots__ = ("_name", "_system")

    def __init__(self, name: str, system: str = SOURCE) -> None:
        self._name = name
        self._system = system

    def hit(self) -> None:
        """A lookup found its entry."""
        self._looked_up(hit=True)

    def miss(self) -> None:
        """A lookup found nothing."""
        self._looked_up(hit=False)

    def evicted(self, entries: int = 1) -> None:
        """The cache dropped `entries` to make room or because they expired."""
        with guard.guarded("cache_meter"):
            if (series := self._series()) is not None:
                if isinstance(entries, int) and entries >= 0:
                    recorder().cache_evicted(series, entries)
                else:
                    guard.fault("cache_meter.evicted", f"{entries!r} is not a number of entries")

    def rejected(self) -> None:
        """The cache refused an entry because of its size."""
        with guard.guarded("cache_meter"):
            if (series := self._series()) is not None:
                recorder().cache_rejected(series)

    def _looked_up(self, *, hit: bool) -> None:
        with guard.guarded("cache_meter"):
            if (series := self._series()) is not None:
                recorder().cache_looked_up(series, hit, calls.current_tool())

    def _series(self) -> CacheSeries | None:
        return recorder().cache(self._name, self._system) if is_enabled() else None


def cache_meter(name: str) -> CacheMeter:
    """A meter for a cache of the program's own: `hit`, `miss`, `evicted`, `rejected`."""
    with guard.guarded("cache_meter"):
        if is_enabled():
            recorder().cache(name, SOURCE)
    return CacheMeter(name)


def record_cache_hit(cache_name: str) -> None:
    """Count one lookup in `cache_name` that found its entry."""
    CacheMeter(cache_name).hit()


def record_cache_miss(cache_name: str) -> None:
    """Count one lookup in `cache_name` that found nothing."""
    CacheMeter(cache_name).miss()


def record_cache_eviction(cache_name: str) -> None:
    """Count one entry that `cache_name` dropped."""
    CacheMeter(cache_name).evicted()


def record_cache_size_rejection(cache_name: str) -> None:
    """Count one entry that `cache_name` refused because of its size."""
    CacheMeter(cache_name).rejected()
