"""The program's own caches, by lines of `[tool.metertap.caches]` in the configuration file.

    "shop.cache:SemanticCache.get" = { name = "semantic_cache", miss = "none" }
    "shop.cache:FileCache._evict" = { name = "files", counts = "evictions" }
    "shop.cache:FileCache.put" = { name = "files", counts = "rejections", when = "false" }

A line names a function or a method, sync or async, which is wrapped once its module is imported.
Without `counts` its calls are lookups, and `miss` says which of them are misses: `none` (the
default), `default` (the result is the argument called `default`), `empty` (None, or of length 0) or
`raises:KeyError`. A call that raises another error is neither a hit nor a miss.

With `counts`, each call that returns is one eviction or one rejection. `when` limits that to some
results: a word as for `miss`, or `true` or `false`. With `number = "result"` the result is the
number of evicted entries, or the keys or entries themselves.

Without a `name`, each object of the class is a cache of its own, named as other caches are.

Not seen: a method that a subclass overrides without calling it; a function that was imported by
name before `instrument()`; definitions in `__main__` after that. Generators, and awaitables that no
`async def` made, are no lookups: when they are made, their result is unknown.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from metertap import faults
from metertap.caching.cache_meter import CacheMeter
from metertap.caching.layers import counting, layer, left
from metertap.caching.meters import ObjectMeters
from metertap.measuring.unfinished import can_be_awaited
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap.patching.tracebacks import hide_frame
from metertap.recording.cache_series import EVICTIONS, REJECTIONS, CacheSeries
from metertap.state import is_enabled, recorder
from metertap_instrumentation import lines
from metertap_instrumentation.lines import DOTTED, Patch, is_a, need, unknown

TABLE = "[tool.metertap.caches]"
SYSTEM = "configured"
LOOKUPS = "lookups"

_RAISES = re.compile(rf"raises:({DOTTED})")
_layer = layer.get

Test = Callable[[Any, Callable[[], Any]], bool]
"""Whether a result is meant; the second argument returns the call's argument `default`."""

TESTS: dict[str, Test] = {
    "none": lambda result, _default: result is None,
    "empty": lambda result, _default: result is None or _length(result) == 0,
    "default": lambda result, default: result is default(),
    "true": lambda result, _default: result is True,
    "false": lambda result, _default: result is False,
}
MISSES = ("none", "default", "empty")


class Line(lines.Line):
    """One line: the cache that it is about, and the meaning of its function's calls."""

    table = TABLE
    keys = frozenset({"name", "miss", "counts", "when", "number"})
    example = '{ miss = "none" }'

    def read(self, given: Mapping[str, Any]) -> None:
        self.name: str | None = given.get("name")
        self.counts = _word(given, "counts", (EVICTIONS, REJECTIONS), LOOKUPS)
        if self.counts == LOOKUPS:
            need(given.keys().isdisjoint({"when", "number"}), "when and number are for counts")
            word = _word(given, "miss", MISSES, "none", or_raises=True)
        else:
            need("miss" not in given, "miss is for lookups, and counts are something else")
            word = _word(given, "when", tuple(TESTS), "", or_raises=True)
        _word(given, "number", ("result",), "")
        self.number = "number" in given
        need(not self.number or self.counts == EVICTIONS, "number is for evictions")
        text = isinstance(self.name, str) and bool(self.name.strip())
        need(text or "name" not in given, "a name is a text that is not empty")
        need(
            self.name is not None or bool(self.owner) or self.counts == LOOKUPS,
            f"a name is needed: which cache's {self.counts} are these?",
        )
        self.test = TESTS.get(word)
        self.raises = word.removeprefix("raises:") if word.startswith("raises:") else None

    @property
    def cache(self) -> tuple[str, str]:
        """The key that lines about the same cache, or the same class of caches, share."""
        return ("name", self.name) if self.name else (self.module, self.owner or self.attribute)


def _word(
    given: Mapping[str, Any],
    key: str,
    words: tuple[str, ...],
    default: str,
    *,
    or_raises: bool = False,
) -> str:
    word = given.get(key, default)
    if key not in given or word in words:
        return str(word)
    if or_raises and isinstance(word, str) and _RAISES.fullmatch(word):
        return word
    raise unknown(key, word, (*words, "raises:KeyError") if or_raises else words)


class Counter:
    """Wrapper of the function of one line: counts what its calls mean."""

    def __init__(self, line: Line, meters: Meters) -> None:
        self._line = line
        self._meters = meters
        self._place = f"configured cache {line.module}:{line.attribute}"
        self._function = f"{line.module}.{line.attribute}"
        self._defaults: dict[Any, tuple[int, Any]] = {}

    def __call__(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if self._line.counts == LOOKUPS and _layer():
            return wrapped(*args, **kwargs)  # another cache is built on this one, and counts
        if getattr(getattr(wrapped, "__code__", None), "co_flags", 0) & inspect.CO_COROUTINE:
            # The method is called when this coroutine is awaited. If it never is, no coroutine of
            # the method is left, of which Python would warn.
            make = functools.partial(wrapped, *args, **kwargs)
            return self._coroutine(make, wrapped, wrapped, instance, args, kwargs)
        context = self._as_layer()
        try:
            with context:
                result = wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            left(context)
            self._raised(instance, error)
            raise
        if type(result) is CoroutineType:
            return self._coroutine(lambda: result, result, wrapped, instance, args, kwargs)
        self._returned(result, wrapped, instance, args, kwargs)
        return result

    def _coroutine(
        self, make: Any, named: Any, wrapped: Any, instance: Any, args: Any, kwargs: Any
    ) -> Any:
        async def call() -> Any:
            context = self._as_layer()
            try:
                with context:
                    result = await make()
            except BaseException as error:
                hide_frame(error)
                left(context)
                self._raised(instance, error)
                raise
            self._returned(result, wrapped, instance, args, kwargs)
            return result

        coroutine: Any = call()
        coroutine.__name__, coroutine.__qualname__ = named.__name__, named.__qualname__
        return coroutine

    def _as_layer(self) -> contextlib.AbstractContextManager[None]:
        with faults.guarded(self._place):
            if self._line.counts == LOOKUPS:
                return counting(self)
        return contextlib.nullcontext()

    def _returned(self, result: Any, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
        line = self._line
        with faults.guarded(self._place):
            if _comes_later(result):
                self._tell(f"a {type(result).__qualname__} does not say what it is")
                return
            try:
                meant = line.test is not None and line.test(
                    result, functools.partial(self._default, wrapped, instance, args, kwargs)
                )
                number = _number(result) if line.number else 1
            except Exception as error:  # raised by the program's own object
                self._tell(f"{type(error).__qualname__} in reading a result, which counts nothing")
                return
            if line.counts == LOOKUPS:
                self._lookup(instance, hit=not meant)
            elif meant or not (line.test or line.raises):
                self._event(instance, number)

    def _tell(self, what: str) -> None:
        faults.warn_once(self._place, "%s: %s (told once)", self._place, what)

    def _raised(self, instance: Any, error: BaseException) -> None:
        with faults.guarded(self._place):
            if self._line.raises is not None and is_a(error, self._line.raises):
                if self._line.counts == LOOKUPS:
                    self._lookup(instance, hit=False)
                else:
                    self._event(instance, 1)

    def _lookup(self, instance: Any, *, hit: bool) -> None:
        meter = self._meters.of(instance, self._function)
        (meter.hit if hit else meter.miss)()

    def _event(self, instance: Any, number: int) -> None:
        if self._line.counts == EVICTIONS:
            self._meters.of(instance, self._function).evicted(number)
        else:
            self._meters.of(instance, self._function).rejected()

    def _default(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        """Return a call's argument `default`: the caller's, or the function's own default."""
        if "default" in kwargs:
            return kwargs["default"]
        # Unwrapped to where self is a parameter: some versions of wrapt show what binds it.
        function = inspect.unwrap(getattr(wrapped, "__func__", wrapped))
        if function not in self._defaults:
            parameters = inspect.signature(function).parameters
            position = list(parameters).index("default") - (instance is not None)
            self._defaults[function] = position, parameters["default"].default
        position, own = self._defaults[function]
        return args[position] if position < len(args) else own


def _length(result: Any) -> int | None:
    return len(result) if hasattr(type(result), "__len__") else None


def _number(result: Any) -> int:
    return result if isinstance(result, int) else len(result)


def _comes_later(result: Any) -> bool:
    kind = type(result)
    return kind is GeneratorType or kind is AsyncGeneratorType or can_be_awaited(result)


class _NamedMeter(CacheMeter):
    """Meter of one name, on which events that no line counts are unknown, not zero."""

    __slots__ = ("_supports",)

    def __init__(self, name: str, supports: frozenset[str]) -> None:
        self._supports = supports
        super().__init__(name, SYSTEM)

    def _find(self) -> CacheSeries | None:
        if not is_enabled():
            return None
        recorder().wake()
        return recorder().cache_by_hand(self._name, SYSTEM, self._supports)


class Meters:
    """The meters of all lines about one cache: one, or one for each object of a class."""

    def __init__(self, lines: list[Line]) -> None:
        line = lines[0]
        self._lines = lines
        self._name = line.name
        self._supports = frozenset(line.counts for line in lines) & {EVICTIONS, REJECTIONS}
        self._plain = functools.cache(functools.partial(_NamedMeter, supports=self._supports))
        self._objects = ObjectMeters(SYSTEM, supports=self._supports, natural_name=_class_name)

    def __reduce__(self) -> Any:
        """Make meters for the same lines in the process that unpickles a method by value."""
        return Meters, (self._lines,)

    def of(self, instance: Any, function: str) -> CacheMeter:
        """Return the meter of `instance`; if that is None, of the plain function of that name."""
        if self._name is not None:
            return self._plain(self._name)
        if instance is None:
            return self._plain(function)
        if not type(instance).__weakrefoffset__:  # a later object may have its id
            return self._plain(f"{type(instance).__module__}.{type(instance).__qualname__}")
        return self._objects.of(instance)


def _class_name(cache: Any) -> str | None:
    # For class methods, a class is a cache, too.
    return f"{cache.__module__}.{cache.__qualname__}" if isinstance(cache, type) else None


class Configured(lines.Configured[Line]):
    """The lines of `[tool.metertap.caches]`, and their patches."""

    line = Line

    def patches(self, lines: list[Line]) -> Iterable[PatchSet]:
        of_one: dict[tuple[str, str], list[Line]] = {}
        for line in lines:
            of_one.setdefault(line.cache, []).append(line)
        for same in of_one.values():
            meters = Meters(same)
            for line in same:
                yield Patch(line, [Target(line.attribute, Counter(line, meters))])


INSTRUMENTATION = Configured(SYSTEM, TABLE)
