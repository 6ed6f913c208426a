"""Sessions that are open: `metertap.session.active`."""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.patching.tracebacks import hide_frame
from metertap.state import recorder


async def run_session(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """mcp 1.x: `ServerSession._receive_loop` lasts as long as one session."""
    opened: object = None
    with faults.guarded("mcp.session"):
        opened = recorder().session_opened()
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("mcp.session"):
            hide_frame(error)
        raise
    finally:
        if opened is not None:
            with faults.guarded("mcp.session"):
                recorder().session_closed(opened)


def run_dispatcher(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """mcp 2.x: a dispatcher's `run(on_request, …)` lasts as long as one connection.

    Clients run dispatchers too; a server's hands requests to `mcp.server`. A request of the
    2026-07-28 protocol over HTTP is no session and has no dispatcher.
    """
    on_request = args[0] if args else kwargs.get("on_request")
    if not str(getattr(on_request, "__module__", "")).startswith("mcp.server."):
        return wrapped(*args, **kwargs)
    return run_session(wrapped, instance, args, kwargs)
