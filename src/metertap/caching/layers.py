"""Which cache counts a lookup if caches are built on one another: the outermost one.

An adapter sets a context variable while it counts, and the adapters of caches below count nothing.
Tasks, threads and callbacks that begin meanwhile keep that context as long as they live. So the
variable holds a mark that is emptied at the end of the lookup.

An interrupt (Ctrl-C, a time limit) may come as soon as the variable is set, and just as a block is
left. A mark that it left would end the counting in that thread for good. So the code that empties
a mark is around the code that sets it, and blocks are left again where an exception passes.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

Mark = list[Any]
"""A list with the layer, emptied when its lookup is over."""
layer: ContextVar[Mark | None] = ContextVar("metertap_cache_layer", default=None)
"""The mark of the layer that counts the operation in progress: lookups below count nothing.

Adapters of caches that are built on other caches set it (`counting`); all adapters look whether
there is one that is not empty.
"""


def by() -> Any:
    """Return the layer that counts lookups here, or None."""
    mark = layer.get()
    return mark[0] if mark else None


def leave_layer(token: Token[Mark | None]) -> None:
    """Restore the layer at the end of a lookup, which may be closed in another context."""
    try:
        layer.reset(token)
    except ValueError:
        pass


class setting:  # lower case: `with setting(variable, value):`
    """Context manager that sets a variable, also in a coroutine closed in another context."""

    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[Any], value: Any) -> None:
        self._token: Token[Any] | None = None
        self._variable = variable
        self._value = value

    def __enter__(self) -> Any:
        before = self._variable.get()
        try:
            self._token = self._variable.set(self._value)
        except BaseException:
            self._variable.set(before)
            raise
        return self._value

    def __exit__(self, *_raised: object) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                self._variable.reset(token)
            except ValueError:  # a coroutine that is closed in another context
                pass


class counting(setting):  # lower case, too
    """A context in which caches count nothing: the lookup around it counts once."""

    __slots__ = ()

    def __init__(self, by: object = "a layer above") -> None:
        """Name the layer `by`, for adapters that ask which one is outside."""
        super().__init__(layer, [by])

    def __exit__(self, *raised: object) -> None:
        self._value.clear()
        super().__exit__(*raised)


def left(context: object) -> None:
    """Restore what a context has set, if an interrupt came before it could do so itself.

    Not by the method of its own class, which may have counted a lookup already.
    """
    if isinstance(context, counting):
        counting.__exit__(context)
    elif isinstance(context, setting):
        setting.__exit__(context)
