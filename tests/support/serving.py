"""Serving routes in tests, and talking to them below HTTP."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from metertap_exporters.http.app import App, Route
from metertap_exporters.http.endpoint import Endpoint


@contextlib.contextmanager
def served(**routes: Route) -> Iterator[str]:
    """The URL of an endpoint on a free port of loopback that serves these routes."""
    app = App({f"/{name}": route for name, route in routes.items()})
    endpoint = Endpoint("test", app, "127.0.0.1", 0, True, "PORT")
    endpoint.start()
    try:
        url = endpoint.wait(60)
        assert url is not None
        yield url
    finally:
        endpoint.stop()


def connect(url: str, receive_buffer: int | None = None) -> socket.socket:
    """A connection to the server of `url`."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(60)
    try:
        client.connect((address.hostname, address.port))
    except OSError:
        client.close()
        raise
    return client


def read(client: socket.socket) -> bytes:
    """All that comes until the other side ends the connection, however it does."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(1 << 20):
            received += chunk
    return received


def said(url: str, request: bytes) -> bytes:
    """What the server answers to these bytes."""
    with connect(url) as client:
        client.sendall(request)
        return read(client)
