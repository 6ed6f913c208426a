"""Stand-ins for the public names where metertap cannot be used. They do nothing.

A program must run where a package that metertap needs is missing or broken. There, decorated
functions stay as they are, measured blocks run, records are dropped, and one warning says why.

This module is there from the start and imports next to nothing: it is needed just when nothing else
can be imported.
"""

from __future__ import annotations

import sys
import time

from metertap._version import __version__

TYPE_CHECKING = False  # not typing's: to import that takes longer than all the rest
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager
    from typing import Any


def nothing(*_args: Any, **_kwargs: Any) -> None:
    """Do nothing."""


class Tap:
    """A tap that measures nothing."""

    settings = pipeline = watch = json_url = prometheus_url = None
    is_active = False

    def snapshot(self) -> dict[str, Any]:
        """Return a document that says that nothing is measured."""
        return get_all_metrics()

    def diagnosis(self) -> dict[str, Any]:
        """Return why nothing is measured."""
        from metertap import faults

        return {"version": __version__, "active": False, "faults": faults.fault_counts()}

    alerts = flush = shutdown = __exit__ = staticmethod(nothing)

    def __enter__(self) -> Tap:
        return self


class CacheMeter:
    """A meter that counts nothing."""

    def __init__(self, name: str = "", system: str = "") -> None:
        """Take the arguments of the real one."""

    hit = miss = rejected = evicted = staticmethod(nothing)


class PerformanceMetricsCollector:
    """A collector that records nothing and shows nothing."""

    @classmethod
    def get_instance(cls) -> PerformanceMetricsCollector:
        """Return a collector that records nothing."""
        return cls()

    def is_enabled(self) -> bool:
        """Return False: nothing is recorded."""
        return False

    def get_all_metrics(self) -> dict[str, Any]:
        """Return a document that says that nothing is measured."""
        return get_all_metrics()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return dict if name.startswith("get_") else nothing


def get_collector() -> PerformanceMetricsCollector:
    """Return a collector that records nothing."""
    return PerformanceMetricsCollector()


def instrument(**_options: Any) -> Tap:
    """Return a tap that measures nothing."""
    return Tap()


def get_all_metrics() -> dict[str, Any]:
    """Return a document that says that nothing is measured."""
    now = time.time()
    return {
        "schema_version": "1.3",
        "enabled": False,
        "timestamp": now,
        "service": {},
        "tool_metrics": {},
        "cache_metrics": {},
        "operations": [],
        "sessions": [],
        "system_metrics": {
            "active_sessions": 0,
            "concurrent_requests": 0,
            "total_requests": 0,
            "start_time": now,
            "uptime_seconds": 0.0,
            "process": {
                "cpu_seconds": time.process_time(),
                "resident_bytes": None,
                "threads": len(sys._current_frames()),
                "gc": None,
            },
        },
        "alerts": None,
        "cost_metrics": None,
        "workers": None,
        "ended_workers": 0,
        "killed_workers": 0,
        "weight_metrics": None,
    }


def wsgi_app() -> Callable[..., list[bytes]]:
    """Return a WSGI application that says that nothing is measured."""

    def answer(_environ: object, start_response: Callable[..., object]) -> list[bytes]:
        length = ("Content-Length", str(len(_NOTHING)))
        start_response("503 Service Unavailable", [("Content-Type", "application/json"), length])
        return [_NOTHING]

    return answer


def asgi_app() -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that says that nothing is measured."""

    async def answer(_scope: object, _receive: object, send: Callable[..., Any]) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": _NOTHING})

    return answer


def tool(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Return the function as it is."""
    return (lambda undecorated: undecorated) if function is None else function


def measure_tool(name: str) -> AbstractContextManager[None]:
    """Return a context manager that does nothing."""
    return _Block()


class _Block:
    """A block that is not measured."""

    __enter__ = __exit__ = staticmethod(nothing)


def cache_meter(name: str) -> CacheMeter:
    """Return a meter that counts nothing."""
    return CacheMeter()


_NOTHING = b'{"error":{"status":503,"message":"nothing is measured"}}'
_DOING_NOTHING = frozenset(
    {
        "name_cache",
        "record_cache_eviction",
        "record_cache_hit",
        "record_cache_miss",
        "record_cache_size_rejection",
        "record_tool_call",
        "record_usage",
        "reset",
        "reset_metrics",
        "uninstrument",
    }
)


def stand_in(name: str, error: Exception) -> Any:
    """Return the stand-in for a public `name` that cannot be imported because of `error`.

    Raises `error` if a signal handler of the program raised it.
    """
    tell(error)
    if name in _DOING_NOTHING:
        return nothing
    # What is left are the types of results, of which there are none.
    return globals().get(name) or type(name, (), {"__module__": __name__})


def may_pass(error: Exception) -> bool:
    """Return whether an import that raised `error` may succeed later: the program lacked room."""
    return isinstance(error, OSError | MemoryError | RecursionError)


def tell(error: Exception) -> None:
    """Warn once that something that metertap needs cannot be imported because of `error`.

    Raises `error` if a signal handler of the program raised it.
    """
    try:
        from metertap import faults
    except Exception:  # nothing can be imported now
        return
    if faults.is_of_a_signal(error):
        raise error
    faults.warn_once(
        "unavailable",
        "the program runs unmeasured: %s: %s",
        type(error).__qualname__,
        faults.shown(error, str),
    )
