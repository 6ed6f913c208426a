"""What a backend is called: its alias in `CACHES`."""

from __future__ import annotations

import sys
import weakref
from typing import Any

from metertap.caching.meters import ObjectMeters

_aliases: dict[int, tuple[weakref.ref[Any], str]] = {}


def _alias(cache: Any) -> str | None:
    made = _aliases.get(id(cache))
    if made is not None and made[0]() is cache:
        return made[1]
    handler = sys.modules["django.core.cache"].caches  # it may have been made before us
    return next(
        (alias for alias in handler if getattr(handler._connections, alias, None) is cache), None
    )


meters = ObjectMeters("django", supports=frozenset(), natural_name=_alias)


def made(backend: Any, alias: str) -> None:
    """`backend` is that of `alias`, in some thread."""
    identity = id(backend)
    _aliases[identity] = weakref.ref(backend, lambda ended: _forget(identity, ended)), alias


def _forget(identity: int, ended: weakref.ref[Any]) -> None:
    if (made := _aliases.get(identity)) is not None and made[0] is ended:
        del _aliases[identity]
