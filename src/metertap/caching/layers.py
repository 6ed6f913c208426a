"""Who counts a lookup where caches stand on one another: the outermost of them.

An adapter notes in a context variable that it counts, and the adapters of caches that are asked
meanwhile count nothing.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

layer: ContextVar[object] = ContextVar("metertap_cache_layer", default=None)
"""The layer that counts the cache operation in progress: lookups below it count nothing.

Adapters of caches that stand on other caches put it there (`counting`); all adapters look for it.
"""


def leave_layer(token: Token[object]) -> None:
    """Put the layer back, at the end of a lookup that may be closed in another context."""
    try:
        layer.reset(token)
    except ValueError:
        pass


class setting:  # lower case: `with setting(variable, value):`
    """Set a context variable inside, also in a coroutine that is left in another context."""

    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[Any], value: Any) -> None:
        self._variable = variable
        self._value = value

    def __enter__(self) -> Any:
        self._token = self._variable.set(self._value)
        return self._value

    def __exit__(self, *_raised: object) -> None:
        try:
            self._variable.reset(self._token)
        except ValueError:  # a coroutine that is closed elsewhere
            pass


def counting(by: object = "a layer above") -> setting:
    """Make a context in which caches count nothing: the lookup around it counts once.

    `by` is for adapters that ask what is outside. Not the cache: a connection that is opened inside
    keeps its context, and with it what stands there.
    """
    return setting(layer, by)
