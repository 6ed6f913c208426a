"""The classes of backends: those that there are, and those that come."""

from __future__ import annotations

import sys
from typing import Any

from metertap import faults
from metertap.patching.patch_set import PatchSet, comparable
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.django.lookups import (
    aget,
    aget_many,
    aget_or_set,
    get,
    get_many,
    get_or_set,
    not_a_lookup,
    not_an_async_lookup,
)
from metertap_instrumentation.caches.django.meters import made

MODULE = "django.core.cache.backends"


class Backends(SubclassesPatchSet):
    """`BaseCache` and what derives from it, without a hook on the program's classes."""

    def _hook(self, _base: type) -> None:
        pass

    def adopt(self, cls: type) -> None:
        """`cls` is a backend's: it may be new, and its parents, too."""
        with self._lock:
            if self.status == "installed":
                base = getattr(sys.modules[self.module], self._base_name)
                for parent in reversed(cls.__mro__):
                    if issubclass(parent, base) and parent is not base:
                        self._adopt(parent)


class Backend(PatchSet):
    """A module with backends, which may be used without `caches`."""

    def follow(self, module: Any) -> None:
        """Adopt what it defines."""
        base = sys.modules[f"{MODULE}.base"].BaseCache
        for found in list(vars(module).values()):
            # Not isinstance: it would ask Django's lazy settings, which may not be set yet.
            if issubclass(type(found), type) and issubclass(found, base):
                BACKENDS.adopt(found)


def create_connection(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`caches[alias]`, for the first time in a thread."""
    try:
        backend = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise
    with faults.guarded("django"):
        BACKENDS.adopt(type(backend))
        made(backend, args[0] if args else kwargs["alias"])
    return backend


BACKENDS = Backends(
    f"{MODULE}.base",
    "BaseCache",
    {
        "get": get,
        "get_many": get_many,
        "get_or_set": get_or_set,
        "aget": aget,
        "aget_many": aget_many,
        "aget_or_set": aget_or_set,
        **dict.fromkeys(("has_key", "incr", "incr_version"), not_a_lookup),
        **dict.fromkeys(("ahas_key", "aincr", "aincr_version"), not_an_async_lookup),
    },
    target=comparable,  # Django 6.1 asks whether a backend has a method of its own
)
