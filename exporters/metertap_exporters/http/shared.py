"""A route whose answer is made once for all requests at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

from metertap import locks
from metertap_exporters.http.app import Environ, Response, Route, json_error
from metertap_exporters.http.workers import HasLeft, left

HAS_ROOM = "metertap.has_room"
"""The key of a request's function that waits until there is memory for one more answer."""
_MOST_WAITING = 16
"""The most waiting requests with parameters: others need the endpoint's connections, too."""


def _always() -> bool:
    return True


class SharedRoute:
    """A route that makes one answer at a time, for all requests that came before it began.

    However many requests there are, only two answers of a kind exist: the one being made, and the
    next, for the requests that came meanwhile. `kind` tells requests for different answers apart.
    Clients decide how many kinds there are, so each answer waits until there is memory for it, and
    only a few requests with parameters may wait; of any requests, if making an answer `is_long`: it
    takes seconds.
    """

    def __init__(
        self, route: Route, kind: Callable[[Environ], Hashable], *, is_long: bool = False
    ) -> None:
        self._route = route
        self._kind = kind
        self._is_long = is_long
        self._limited = 0
        self._making = locks.lock()
        self._counting = locks.lock()
        self._waiting: Counter[Hashable] = Counter()
        self._begun = 0
        self._made: dict[Hashable, tuple[int, Response]] = {}

    def forked(self) -> None:
        """Forget, in a forked child, the parent's waiting threads."""
        self._waiting.clear()
        self._limited = 0
        self._made = {}

    def __call__(self, environ: Environ) -> Response:
        kind = self._kind(environ)
        is_limited = self._is_long or bool(environ.get("QUERY_STRING"))
        with self._counting:
            if is_limited and self._limited >= _MOST_WAITING:
                return json_error(503, "too many requests wait for such an answer")
            self._limited += is_limited
            self._waiting[kind] += 1
            arrived = self._begun
        try:
            with self._making:
                number, response = self._made.get(kind, (0, None))
                if response is None or number <= arrived:
                    if not environ.get(HAS_ROOM, _always)():
                        return json_error(503, "too many answers wait to be read")
                    self._begun += 1
                    number = self._begun
                    try:
                        response = self._route(environ)
                    except HasLeft:
                        response = left()
                    self._made[kind] = number, response
                return response
        finally:
            with self._counting:
                self._limited -= is_limited
                self._waiting[kind] -= 1
                if not self._waiting[kind]:
                    del self._waiting[kind]
                    self._made.pop(kind, None)
