"""cashews: `get`, `get_many`, `get_raw` of a `Cache`, and its decorators, which end there.

A `Cache` sends all commands by `Wrapper._with_middlewares_for_backend`, as a chain of middlewares
around the backend's own method. The innermost one is ours: what another middleware answers is no
lookup (a cache that is disabled, `invalidate_further()`), nor is what a backend reads among its own
stores (a transaction, the copy that a client keeps of redis). A default of ours distinguishes a
stored None from a missing entry. Only cashews' own backends get it: one of the program's, which may
pass the default on, gets the caller's, and a stored value equal to that counts as a miss. Other
caches that are asked meanwhile (redis, diskcache) are part of the command. diskcache is asked in
another thread, so `DiskCache._run_in_executor` is wrapped, too.

A cache's name is the one that it was given (`cashews.cache` is `default`), or that of the variable
that holds it. Functions that `@cache(...)` decorates count on their cache.

Not seen: evictions, and what `memory_limit` keeps out. `get_match` lists entries and is no lookup,
though redis is read for it. An entry that is found and then considered expired (`soft`, `hit`) is a
hit. `@cache.iterator` reads an entry for each chunk, and one past the last. A redis that is down
looks empty, unless its `suppress` is off; so that is a miss here, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from metertap import faults
from metertap.caching.adapter import Asked, counts, stand_ins
from metertap.caching.layers import by, counting, layer, leave_layer, left
from metertap.caching.meters import ObjectMeters
from metertap.caching.qualified_names import KEEPERS
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

_NOTHING: Any = object()
_HERE = "cashews"
_MEMORY = "cashews.backends.memory"

_layer, _set_layer = layer.get, layer.set
KEEPERS.add("cashews")


meters = ObjectMeters("cashews", supports=frozenset(), natural_name=attrgetter("name"))
_find = meters.find


def with_middlewares(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count the commands to a backend, by the innermost middleware."""

    def call(self: Any, cmd: Any, backend: Any, middlewares: Any) -> Any:
        if live:
            name = cmd._value_  # `value` takes ten times as long
            if (
                name == "get"
                and type(backend) in _memories
                and type(backend._serializer) in _serializers
            ):
                around = get_in_memory
            else:
                around = _AROUND.get(name, no_lookup)
            middlewares = [partial(around, self), *middlewares]
        return method(self, cmd, backend, middlewares)

    return call


# By hand and not by `caching.adapter`: a lookup in memory takes 4 µs, and the general form would
# need another coroutine.
async def lookup(
    cache: Any, call: Any, command: Any, backend: Any, *args: Any, **kwargs: Any
) -> Any:
    """Count a lookup, as the middleware around it; `get_raw` has no default but None."""
    given = default = kwargs.get("default")
    try:
        if _layer():
            return await call(*args, **kwargs)
        name = command._value_
        if name != "get_raw" and _is_own(backend):
            kwargs["default"] = given = _NOTHING
        mark, token = [_HERE], None
        try:
            token = _set_layer(mark)
            found = await call(*args, **kwargs)
        finally:
            mark.clear()
            if token:
                leave_layer(token)
    except BaseException as error:
        hide_frame(error)
        raise
    try:
        meter = _find(id(cache)) or meters.of(cache)
        if name == "get_many":
            for value in found:
                (meter.miss if value is given else meter.hit)()
        else:
            (meter.miss if found is given else meter.hit)()
    except Exception as fault:
        faults.fault("cashews", fault)
    if name == "get_many" and given is _NOTHING:
        return tuple(default if value is _NOTHING else value for value in found)
    return default if found is _NOTHING else found


async def get_in_memory(
    cache: Any, call: Any, _command: Any, _backend: Any, /, key: Any, default: Any = None
) -> Any:
    """Count a lookup of one key in cashews' own memory, which asks no other cache."""
    try:
        if _layer():
            return await call(key, default)
        found = await call(key, _NOTHING)
    except BaseException as error:
        hide_frame(error)
        raise
    try:
        meter = _find(id(cache))
        if meter is None:
            meter = meters.of(cache)
        if found is _NOTHING:
            meter.miss()
        else:
            meter.hit()
    except Exception as fault:
        faults.fault("cashews", fault)
    return default if found is _NOTHING else found


def _is_own(backend: Any) -> bool:
    """Return whether the default goes to cashews' own code only, with nothing overridden."""
    try:
        kinds = type(backend), type(getattr(backend, "_serializer", None))
        own = _own.get(kinds)
        if own is None:
            packages = {kind.__module__.partition(".")[0] for kind in kinds}
            own = _own[kinds] = packages <= {"builtins", "cashews"}
            if own and hasattr(backend, "_serializer"):
                _serializers.add(kinds[1])
                if kinds[0].__module__ == _MEMORY:
                    _memories.add(kinds[0])
        return own
    except Exception as fault:
        faults.fault("cashews", fault)
        return False


_own: dict[tuple[type, type], bool] = {}
_memories: set[type] = set()
"""cashews' own backends that ask no others, once one of them was looked up in."""
_serializers: set[type] = set()
"""Serializers of cashews' own."""


async def no_lookup(
    _cache: Any, call: Any, _command: Any, _backend: Any, *args: Any, **kwargs: Any
) -> Any:
    """Run, as the middleware around it, a command that is no lookup: its reads count nothing."""
    context = counting(by() or _HERE)
    try:
        with context:
            return await call(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        left(context)
        raise


def _in_whose_name(_backend: Any, args: Any, kwargs: Any) -> Asked | None:
    asked_by = by()
    return None if asked_by is None else (None, (_asked_by, asked_by, *args), kwargs)


def _asked_by(layer_above: Any, call: Any, *args: Any) -> Any:
    context = counting(layer_above)
    try:
        with context:
            return call(*args)
    except BaseException as error:
        hide_frame(error)
        left(context)
        raise


_AROUND = {"get": lookup, "get_many": lookup, "get_raw": lookup}
run_in_executor = counts("cashews", lambda *call: call[-1], ask=_in_whose_name, layers=None)
"""Passes the layer above on to the thread that asks; the waiting coroutine counts the answer."""


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.cashews"],
    [
        PatchSet(
            "cashews.wrapper.wrapper",
            stand_ins("Wrapper", _with_middlewares_for_backend=with_middlewares),
        ),
        # Imported with cashews if diskcache is installed.
        PatchSet(
            "cashews.backends.diskcache", stand_ins("DiskCache", _run_in_executor=run_in_executor)
        ),
    ],
)
