"""A server over streamable HTTP in a thread of its own, and clients of every era."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from mcp import ClientSession
from mcp.client import streamable_http
from mcp.client.sse import sse_client

from servers.mcp_stacks import MCP
from support.waiting import wait_for

ERAS = ["2025-06-18"] if MCP < (1, 20) else ["2025-11-25"]
"""Versions of the protocol that the clients here end up with."""
if MCP >= (2,):
    ERAS.append("2026-07-28")


@contextlib.contextmanager
def serving(server: Any, transport: str = "http") -> Iterator[str]:
    """Serve a high-level server on a free port, over streamable HTTP or `sse`; yields its URL."""
    if hasattr(server, "http_app"):
        app = server.http_app(transport=transport)
    else:
        app = server.sse_app() if transport == "sse" else server.streamable_http_app()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=2
    )
    runner = uvicorn.Server(config)
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: runner.started)
        port = runner.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"
    finally:
        runner.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def streams_to(url: str) -> contextlib.AbstractAsyncContextManager[Any]:
    """Open the streams of a client, over SSE if that is what the URL is of."""
    if url.endswith("/sse"):
        return sse_client(url)
    connect: Any = getattr(streamable_http, "streamable_http_client", None)
    if connect is None:  # its name in the SDK 1.x, which ends at 1.24
        connect = streamable_http.streamablehttp_client
    made: contextlib.AbstractAsyncContextManager[Any] = connect(url)
    return made


@contextlib.asynccontextmanager
async def connected(url: str, era: str) -> AsyncIterator[Any]:
    """A `ClientSession` of one era."""
    if era >= "2026":
        from mcp import Client

        async with Client(url, mode=era) as client:
            yield client.session
    else:
        async with (
            streams_to(url) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            yield session
