"""The HTTP server under both endpoints: WSGI in daemon threads, one request a connection.

It bounds the number of connections and the time that each may take, and never blocks or outlives
the program.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from http import HTTPStatus
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from metertap import faults, locks
from metertap_exporters.http.app import json_error

_SOCKET_TIMEOUT_SECONDS = 5.0
_CONNECTION_SECONDS = 10.0
"""No connection lasts longer, however slowly its client reads or writes."""
_CONNECTIONS = 64
"""Past these, a new one takes the place of the oldest that has not said yet what it wants."""
POLL_SECONDS = 0.25
"""How often late connections are looked for."""


class _QuietHandler(ServerHandler):
    """A client that goes away is no error; another failure is a fault of ours."""

    def log_exception(
        self,
        exc_info: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> None:
        if exc_info[1] is not None and not isinstance(exc_info[1], OSError):
            faults.fault("endpoint", exc_info[1])


class _Handler(WSGIRequestHandler):
    timeout = _SOCKET_TIMEOUT_SECONDS
    default_request_version = "HTTP/1.0"  # an answer to what is no request has headers too
    server_version = "metertap"
    sys_version = ""

    def address_string(self) -> str:
        return str(self.client_address[0])  # the default may ask a name server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests are not the program's log."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP request: as JSON, like every other error."""
        response = json_error(code, message or HTTPStatus(code).phrase)
        self.send_response(code)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def handle(self) -> None:
        """As the base class does, with the quiet handler; one request a connection."""
        self.raw_requestline = self.rfile.readline(65537)
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return
        if not self.parse_request():
            return
        self.server.is_read(self.connection)  # type: ignore[attr-defined]  # it is our Server
        handler = _QuietHandler(
            self.rfile,
            self.wfile,  # type: ignore[arg-type]  # typeshed wants a BytesIO; wsgiref writes only
            self.get_stderr(),
            self.get_environ(),
            multithread=True,
        )
        handler.request_handler = self  # type: ignore[attr-defined]  # as wsgiref itself does
        handler.run(self.server.get_app())  # type: ignore[attr-defined]  # it is a WSGIServer


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    # A port in TIME_WAIT may be taken again; on Windows this option would allow two listeners.
    allow_reuse_address = hasattr(socket, "SO_REUSEPORT")

    def __init__(self, address: tuple[str, int]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._open: dict[socket.socket, float] = {}  # when each was accepted, oldest first
        self._unread: dict[socket.socket, None] = {}  # those that have not sent their request yet
        self._connections_lock = locks.lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks a name server for this machine's name.
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name = str(self.server_address[0])
        self.server_port = self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        idle = None
        with self._connections_lock:
            full = len(self._open) >= _CONNECTIONS
            if full:
                idle = next(iter(self._unread), None)
            accepted = not full or idle is not None
            if idle is not None:
                del self._unread[idle]
            if accepted:
                self._open[request] = time.monotonic()
                self._unread[request] = None
        if idle is not None:
            _cut(idle)
        if accepted:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def is_read(self, request: socket.socket) -> None:
        """The client of `request` has said what it wants."""
        with self._connections_lock:
            self._unread.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._open.pop(request, None)
            self._unread.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called at each poll of the serving loop: end connections that take too long."""
        oldest = time.monotonic() - _CONNECTION_SECONDS
        with self._connections_lock:
            late = [request for request, since in self._open.items() if since < oldest]
        for request in late:
            _cut(request)

    def stop(self) -> None:
        """Serve no more, and close the listener."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # on Linux the serving loop wakes up at once
        self.shutdown()
        self.server_close()

    def forget(self) -> None:
        """In a forked child: close its copies of the parent's sockets, which stay open there."""
        self.socket.close()
        for request in list(self._open):
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that vanish or stall are their own affair; nothing is printed."""


def _cut(request: socket.socket) -> None:
    """End a connection that another thread is waiting on; that thread closes it."""
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
