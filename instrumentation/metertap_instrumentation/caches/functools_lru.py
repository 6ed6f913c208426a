"""functools: `lru_cache` and `cache`, those of the application, found without a line of code.

A cache counts its own hits and misses, so these are read and a lookup costs nothing. Patched is
the decorator alone, to note what is made; `cache` calls it. Which caches are the application's,
`is_applications` says.

Not seen: lookups between two looks at the figures, where `cache_clear()` follows them or the
function ends: with them go the only counts there were. To hear of the first, the function would
need an attribute of ours, which `functools.wraps` copies to whatever wraps it; nothing can tell of
the second in time. Evictions, which are not counted (entries are). A cache that is made with a name
that its module had imported before `instrument()`, until the next search (see `finding`). A cache
of another library's function (`lru_cache(json.loads)`), for it is called as that one's.
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
    """Note what `lru_cache(function)` makes, or what the decorator `lru_cache(maxsize=8)` will."""
    return shaped(method, _LRU_CACHE, hide=hide_frame, live=live, noted=_noted)


def _noted(made: Any) -> Any:
    with faults.guarded("functools"):
        if not hasattr(made, "cache_info"):
            return _noting(made)
        INSTRUMENTATION.made(made)
    return made


def _noting(decorator: Callable[..., Any]) -> Callable[..., Any]:
    """Return the decorator that `lru_cache(maxsize=8)` gave, which notes what it makes."""

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
