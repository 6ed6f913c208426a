"""Who counts a lookup where caches stand on one another: the outermost of them.

An adapter notes in a context variable that it counts, and the adapters of caches that are asked
meanwhile count nothing. Tasks, threads and callbacks that begin meanwhile keep that context for as
long as they live. So what stands in it is a mark, which is emptied at the end of the lookup.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

Mark = list[Any]
"""The layer, or nothing once its lookup is over."""
layer: ContextVar[Mark | None] = ContextVar("metertap_cache_layer", default=None)
"""The mark of the layer that counts the cache operation in progress: lookups below count nothing.

Adapters of caches that stand on other caches put it there (`counting`); all adapters look for one
that is not empty.
"""


def by() -> Any:
    """Return the layer that counts what is looked up here, or None."""
    mark = layer.get()
    return mark[0] if mark else None


def leave_layer(token: Token[Mark | None]) -> None:
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


class counting(setting):  # lower case, too
    """A context in which caches count nothing: the lookup around it counts once."""

    __slots__ = ()

    def __init__(self, by: object = "a layer above") -> None:
        """Make it; `by` is for adapters that ask what is outside."""
        super().__init__(layer, [by])

    def __exit__(self, *raised: object) -> None:
        self._value.clear()
        super().__exit__(*raised)
