"""A server over HTTP or WebSockets in a thread of its own, and clients of every era."""

from __future__ import annotations

import contextlib
import importlib
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
    with _served(app) as address:
        yield f"http://{address}/{'sse' if transport == 'sse' else 'mcp'}"


@contextlib.contextmanager
def serving_websockets(server: Any) -> Iterator[str]:
    """Serve a low-level server of mcp 1.x on a free port, over WebSockets; yields its URL."""
    websocket_server = importlib.import_module("mcp.server.websocket").websocket_server

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with websocket_server(scope, receive, send) as (read, write):
            await server.run(read, write, server.create_initialization_options())

    with _served(app) as address:
        yield f"ws://{address}/mcp"


@contextlib.contextmanager
def _served(app: Any) -> Iterator[str]:
    """Run an ASGI application on a free port; yields the address and the port."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=2
    )
    runner = uvicorn.Server(config)
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: runner.started)
        port = runner.servers[0].sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}"
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
