"""The classes of backends, existing ones and those that are defined later."""

from __future__ import annotations

import sys
from typing import Any

from metertap.caching.adapter import after, within
from metertap.patching.patch_set import PatchSet
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import stand_in
from metertap_instrumentation.caches.django.lookups import get, get_many, get_or_set, made

MODULE = "django.core.cache.backends"


class Backends(SubclassesPatchSet):
    """`BaseCache` and its subclasses, without a hook on the program's classes."""

    def _hook(self, _base: type) -> None:
        pass

    def adopt(self, cls: type) -> None:
        """Wrap the methods of a backend's class, and of its parents, if they are new."""
        with self._lock:
            if self.status == "installed":
                base = getattr(sys.modules[self.module], self._base_name)
                for parent in reversed(cls.__mro__):
                    if issubclass(parent, base) and parent is not base:
                        self._adopt(parent)


class Backend(PatchSet):
    """A module of backends, which may be used without `caches`."""

    def follow(self, module: Any) -> None:
        """Wrap the backends that the module defines."""
        base = sys.modules[f"{MODULE}.base"].BaseCache
        for found in list(vars(module).values()):
            # Not isinstance, which would ask Django's lazy settings, perhaps before they are set.
            if issubclass(type(found), type) and issubclass(found, base):
                BACKENDS.adopt(found)


def _connected(_handler: Any, backend: Any, args: Any, kwargs: Any) -> None:
    BACKENDS.adopt(type(backend))
    made(backend, args[0] if args else kwargs["alias"])


create_connection = after("django", _connected)
"""Wraps the method that makes `caches[alias]`, once in each thread."""
_lookups = {"get": get, "get_many": get_many, "get_or_set": get_or_set}
_none = dict.fromkeys(("has_key", "incr", "incr_version"), within())
_sync = {**_lookups, **_none}
BACKENDS = Backends(
    f"{MODULE}.base",
    "BaseCache",
    {**_sync, **{f"a{name}": make for name, make in _sync.items()}},
    target=stand_in,
)
