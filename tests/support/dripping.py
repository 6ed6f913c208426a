"""Servers over HTTP that answer as no server should: never to the end, or a byte at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
DRIPPING = {
    "status": b"HTTP/1.1 200 OK",
    "headers": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "body": HEAD,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "informational": b"",
}
"""What is sent at once, by the part that comes slowly then."""
_PIECES = {"chunks": b"1\r\n \r\n", "informational": b"HTTP/1.1 100 Continue\r\n\r\n"}


@contextmanager
def answering(answer: Callable[[Any], None]) -> Iterator[str]:
    """Yield the address of a server that answers each request by `answer(handler)`."""

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.connection.recv(65536)
            with suppress(OSError):
                answer(self)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def dripping(part: str, seconds: float) -> Iterator[str]:
    """Yield the address of a server that sends a piece of one part every so many seconds."""
    over = Event()

    def drip(handler: Any) -> None:
        handler.wfile.write(DRIPPING[part])
        while not over.wait(seconds):
            handler.wfile.write(_PIECES.get(part, b" "))

    with answering(drip) as address:
        yield address
        over.set()
