"""functools: `lru_cache` and `cache`, those of the application, found without a line of code.

A cache counts its hits and misses itself, so these are read, and a lookup costs nothing. Only the
decorator is patched, to note new caches; `cache` calls it. `is_applications` tells which caches are
the application's.

Not seen: lookups between two looks at the figures, if `cache_clear()` follows them or the function
ends: the only counts go with these. To notice `cache_clear()`, the function would need an attribute
of ours, which `functools.wraps` copies to wrappers; nothing reports the function's end in time.
Evictions, which the library does not count (entries are counted). A cache made by a name that its
module had imported before `instrument()`, until the next search (see `discovery`). A cache of
another library's function (`lru_cache(json.loads)`), which has that function's name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.patching.parameters import shaped
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Live, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.applications import is_applications as is_applications
from metertap_instrumentation.caches.discovery import FindingInstrumentation
from metertap_instrumentation.libraries import LIBRARIES

_LRU_CACHE = """
{kind} call({parameters}):
    try:
        _made = {call}
    except BaseException as _error:
        _hide(_error)
        raise
    return _noted(_made) if _live else _made
"""


def lru_cache(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Note the cache that `lru_cache(function)` makes, or the decorator `lru_cache(8)` will."""
    return shaped(method, _LRU_CACHE, hide=hide_frame, live=live, noted=_noted)


def _noted(made: Any) -> Any:
    with faults.guarded("functools"):
        if not hasattr(made, "cache_info"):
            return _noting(made)
        INSTRUMENTATION.made(made)
    return made


def _noting(decorator: Callable[..., Any]) -> Callable[..., Any]:
    """Return the decorator that `lru_cache(maxsize=8)` returned, which notes the cache it makes."""

    @functools.wraps(decorator)
    def decorate(*args: Any, **kwargs: Any) -> Any:
        try:
            made = decorator(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        INSTRUMENTATION.made(made)
        return made

    return decorate


INSTRUMENTATION = FindingInstrumentation(
    LIBRARIES["caches.functools_lru"],
    [PatchSet("functools", [stand_in("lru_cache", lru_cache)])],
    module="functools",
    class_name="_lru_cache_wrapper",
)
