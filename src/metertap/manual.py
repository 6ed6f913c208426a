"""Measuring by hand: for handlers and caches that no instrumentor knows.

Every name here works before, after and without `instrument()`; when measuring is disabled it
does nothing. A hand-made record inside a call of the same tool that a patch counts already is
left out, and `metertap doctor` names it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast, overload

from metertap import calls, catalogue, generators, guard, measuring, outcome
from metertap._process import is_enabled, recorder
from metertap.blocks import Measured
from metertap.calls import HIT, MISSED, current, tool_of_lookup
from metertap.measuring import ToolSlot
from metertap.patching import Wrapper, WrapperFunction
from metertap.recording import CacheSeries, ToolSeries, as_label

SOURCE = catalogue.MANUAL

_current = current.get

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
    with guard.guarded("tool"):
        if is_enabled():
            recorder().tool(as_label(label), SOURCE)  # in the document before its first call
    kind = measuring.kind_of(function)
    if type(function) is FunctionType and kind in _FUNCTIONS:
        return cast(F, _FUNCTIONS[kind](function, ToolSlot(label, SOURCE, calls.DECORATOR)))
    wrapper = _WRAPPERS[kind](label)
    for attribute in ("__name__", "__qualname__"):  # a coroutine or generator shows its function's
        if isinstance(shown := getattr(function, attribute, None), str):
            setattr(wrapper, attribute, shown)
    measured: Any = Wrapper(function, wrapper)
    return cast(F, measured)


def _plain(label: str) -> WrapperFunction:
    return measuring.plain_wrapper(ToolSlot(label, SOURCE, calls.DECORATOR))


def _coroutine(label: str) -> WrapperFunction:
    return measuring.coroutine_wrapper(ToolSlot(label, SOURCE, calls.DECORATOR))


def _block(label: str) -> generators.Begin:
    return lambda *_call: Measured(label, SOURCE, calls.DECORATOR, in_steps=True)


_FUNCTIONS = {"plain": measuring.plain, "coroutine": measuring.coroutine}
_WRAPPERS: dict[str, Callable[[str], WrapperFunction]] = {
    "plain": _plain,
    "coroutine": _coroutine,
    "generator": lambda label: generators.generator_wrapper(_block(label)),
    "async generator": lambda label: generators.async_generator_wrapper(_block(label)),
}


def measure_tool(name: str) -> contextlib.AbstractContextManager[None]:
    """Measure a block as one call of the tool `name`: `with metertap.measure_tool("search"):`.

    An exception that leaves the block makes it a failed call and passes on unchanged.
    """
    return Measured(name, SOURCE, calls.BLOCK)


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
            recorder().left_out(tool_name)
            return
        series = recorder().tool_by_hand(tool_name, SOURCE)
        if success:
            recorder().record_tool(series, outcome.OK, None, latency_ms)
        else:
            named = _error_type(error_type)
            recorder().record_tool(series, outcome.of_error_type(named), named, latency_ms)


def _error_type(given: object) -> str:
    if not given:
        return outcome.TOOL_ERROR
    if isinstance(given, str):
        return given
    if isinstance(given, BaseException):
        return outcome.error_type(given)
    if isinstance(given, type):
        return given.__qualname__
    guard.fault("record_tool_call.error_type", f"{guard.shown(given)} is not an error type")
    return catalogue.OTHER


class _Unbound(dict[Any, Callable[[], None]]):
    """Stands in for a cache's lookups until the first one, and while measuring is off."""

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[], dict[Any, Callable[[], None]] | None]) -> None:
        self._find = find

    def __missing__(self, tool: ToolSeries | None) -> Callable[[], None]:
        with guard.guarded("cache_meter"):
            lookups = self._find()
            if lookups is not None:
                return lookups[tool]
        return _count_nothing


def _count_nothing() -> None:
    return None


class CacheMeter:
    """Counts what one cache does. Get one from `metertap.cache_meter(name)` and keep it.

    A lookup during a tool call is counted for that tool.
    """

    __slots__ = ("__weakref__", "_hits", "_misses", "_name", "_system")

    def __init__(self, name: str, system: str = SOURCE) -> None:
        self._name = name
        self._system = system
        self._hits: dict[Any, Callable[[], None]]
        self._misses: dict[Any, Callable[[], None]]
        self.forget()
        recorder().keep(self)

    def forget(self) -> None:
        """Find the series again: after a fork, a reset or with other settings."""
        self._hits = _Unbound(self._find_hits)
        self._misses = _Unbound(self._find_misses)

    def hit(self) -> None:
        """A lookup found its entry."""
        frame = _current()
        if frame is None:
            self._hits[None]()
        elif frame[0] is not None:
            frame[3] = True
            self._hits[frame[0]]()
        else:
            self._hits[tool_of_lookup(HIT)]()

    def miss(self) -> None:
        """A lookup found nothing."""
        frame = _current()
        if frame is None:
            self._misses[None]()
        elif frame[0] is not None:
            frame[4] = True
            self._misses[frame[0]]()
        else:
            self._misses[tool_of_lookup(MISSED)]()

    def evicted(self, entries: int = 1) -> None:
        """The cache dropped `entries` to make room or because they expired."""
        with guard.guarded("cache_meter"):
            if (series := self._find()) is not None:
                if isinstance(entries, int) and entries >= 0:
                    recorder().cache_evicted(series, entries)
                else:
                    guard.fault(
                        "cache_meter.evicted", f"{guard.shown(entries)} is not a number of entries"
                    )

    def rejected(self) -> None:
        """The cache refused an entry because of its size."""
        with guard.guarded("cache_meter"):
            if (series := self._find()) is not None:
                recorder().cache_rejected(series)

    def _find_hits(self) -> dict[Any, Callable[[], None]] | None:
        series = self._find()
        if series is None:
            return None
        self._hits = series.hits
        return series.hits

    def _find_misses(self) -> dict[Any, Callable[[], None]] | None:
        series = self._find()
        if series is None:
            return None
        self._misses = series.misses
        return series.misses

    def _find(self) -> CacheSeries | None:
        """The series to count on; None where nothing is counted."""
        if not is_enabled():
            return None
        recorder().wake()
        return recorder().cache_by_hand(self._name, self._system)


def cache_meter(name: str) -> CacheMeter:
    """A meter for a cache of the program's own: `hit`, `miss`, `evicted`, `rejected`."""
    with guard.guarded("cache_meter"):
        if is_enabled():
            recorder().cache_by_hand(name, SOURCE)
    return CacheMeter(name)


def record_cache_hit(cache_name: str) -> None:
    """Count one lookup in `cache_name` that found its entry."""
    _record_lookup(cache_name, hit=True)


def record_cache_miss(cache_name: str) -> None:
    """Count one lookup in `cache_name` that found nothing."""
    _record_lookup(cache_name, hit=False)


def record_cache_eviction(cache_name: str) -> None:
    """Count one entry that `cache_name` dropped."""
    with guard.guarded("cache_meter"):
        if is_enabled():
            recorder().cache_evicted(recorder().cache_by_hand(cache_name, SOURCE), 1)


def record_cache_size_rejection(cache_name: str) -> None:
    """Count one entry that `cache_name` refused because of its size."""
    with guard.guarded("cache_meter"):
        if is_enabled():
            recorder().cache_rejected(recorder().cache_by_hand(cache_name, SOURCE))


def _record_lookup(cache_name: str, *, hit: bool) -> None:
    with guard.guarded("cache_meter"):
        if is_enabled():
            series = recorder().cache_by_hand(cache_name, SOURCE)
            recorder().cache_looked_up(series, hit, tool_of_lookup(HIT if hit else MISSED))
