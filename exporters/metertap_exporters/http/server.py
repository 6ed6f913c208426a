"""The HTTP server of all endpoints: WSGI in daemon threads, one request for each connection.

It never blocks or outlives the program. Its limits are in `metertap_exporters.http.connections`.
"""

from __future__ import annotations

import errno
import io
import selectors
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from socketserver import BaseServer, ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from metertap import descriptors, faults, locks, threads
from metertap.descriptors import Witness
from metertap.native import accepted_at, original, selector
from metertap_exporters.http import unix_socket
from metertap_exporters.http.app import headers_of, json_error
from metertap_exporters.http.connections import Connections
from metertap_exporters.http.shared import HAS_ROOM
from metertap_exporters.http.tls import ServerTls

_SOCKET_TIMEOUT_SECONDS = 5.0
_LINE_BYTES = 8 * 1024
"""The most bytes of a request's first line: reading thousands of parameters takes milliseconds."""
_HEAD_BYTES = 64 * 1024
"""The most bytes of all headers together: a browser sends all cookies of a host, of any port."""
_HEAD_LINES = 100
"""The most lines of headers, as many as the parser takes."""
_CHUNK_BYTES = 64 * 1024
"""The part that a client must take in a moment, or it is slow."""
_SEND_BUFFER_BYTES = 256 * 1024
"""The part of an answer that the system holds for a client that does not read."""
POLL_SECONDS = 0.25
"""Seconds between two checks for late connections."""
_BACK_OFF_SECONDS = 0.25
"""How long, in seconds, to accept nothing if the system is out of descriptors or memory."""
_THREAD = "metertap-request"
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class _Paced(io.BufferedIOBase):
    """The file for an answer, which is sent part by part to notice a slow reader."""

    def __init__(self, connection: socket.socket, written: Callable[[bytes | None], None]) -> None:
        self._connection = connection
        self._written = written

    def writable(self) -> bool:
        return True

    def write(self, body: Any) -> int:
        """Write all of it, or raise OSError."""
        try:
            with memoryview(body) as view:
                for start in range(0, len(view), _CHUNK_BYTES):
                    self._written(body)
                    self._connection.sendall(view[start : start + _CHUNK_BYTES])
                return len(view)
        finally:
            self._written(None)


class _QuietHandler(ServerHandler):
    """A handler for which a client that leaves is no error; other failures are faults."""

    server_software = "metertap"

    def send_headers(self) -> None:
        """Send the head alone, at once: cut off within it, an answer would look whole and empty."""
        answer, self.stdout = self.stdout, io.BytesIO()
        super().send_headers()
        head, self.stdout = self.stdout, answer
        self._write(head.getvalue())

    def log_exception(
        self,
        exc_info: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> None:
        if exc_info[1] is not None and not isinstance(exc_info[1], OSError):
            faults.fault("endpoint", exc_info[1])


class _Handler(WSGIRequestHandler):
    timeout = _SOCKET_TIMEOUT_SECONDS
    default_request_version = "HTTP/1.0"  # so that every answer has headers
    server: Server

    def setup(self) -> None:
        """Make the files of the connection, after a TLS handshake if there is one."""
        super().setup()
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()
        with suppress(OSError):  # a Unix socket has no such options
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        connection, connections = self.connection, self.server.connections
        self.wfile = _Paced(connection, lambda body: connections.writes(connection, body))

    def version_string(self) -> str:
        """Return the server's name, without versions."""
        return _QuietHandler.server_software

    def address_string(self) -> str:
        return str(self.client_address[0])  # the default may ask a name server

    def log_message(self, format: str, *args: Any) -> None:
        """Discard the line: requests are not part of the program's log."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a malformed request: as JSON, like all errors."""
        response = json_error(code, message or HTTPStatus(code).phrase)
        self.send_response(code)
        for name, value in headers_of(response):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    def handle(self) -> None:
        """Handle one request with the quiet handler; otherwise as the base class does."""
        self.raw_requestline = self.rfile.readline(_LINE_BYTES + 1)
        if len(self.raw_requestline) > _LINE_BYTES:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return
        if not (self._has_read_headers() and self.parse_request()):
            return
        if not self.server.connections.asked(self.connection):
            return
        handler = _QuietHandler(
            self.rfile,
            self.wfile,  # type: ignore[arg-type]  # typeshed wants a BytesIO; wsgiref writes only
            self.get_stderr(),
            self.get_environ(),
            multithread=True,
        )
        handler.request_handler = self  # type: ignore[attr-defined]  # as wsgiref itself does
        handler.run(self.server.get_app())  # type: ignore[arg-type]  # typeshed knows no None

    def _has_read_headers(self) -> bool:
        """Return whether the headers are within the limits; the parser would take any length."""
        head, lines = b"", 0
        while line := self.rfile.readline(_HEAD_BYTES + 1):
            head, lines = head + line, lines + 1
            if len(head) > _HEAD_BYTES or lines > _HEAD_LINES:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return False
            if line in {b"\r\n", b"\n"}:
                break
        self.rfile.close()
        self.rfile = io.BytesIO(head)
        return True

    def get_environ(self) -> dict[str, Any]:
        """Return the request's environment, with the function that waits for memory."""
        has_room = partial(self.server.connections.has_room, self.connection)
        return {**super().get_environ(), HAS_ROOM: has_room}


class Lost(Exception):
    """Raised if the program has closed the listener, with all of its descriptors."""


class Server(ThreadingMixIn, WSGIServer):
    block_on_close = False
    # If a Unix socket's queue is full, the system refuses clients with a timeout.
    request_queue_size = 1024
    # A port in TIME_WAIT may be taken; on Windows the option would allow two listeners.
    allow_reuse_address = hasattr(socket, "SO_REUSEPORT")

    def __init__(self, address: tuple[str, int] | Path, tls: ServerTls | None = None) -> None:
        """Listen at a host and port, or at a Unix socket. Raises OSError."""
        self.path = address if isinstance(address, Path) else None
        """The path of the Unix socket, if it listens at one."""
        self._bound: unix_socket.Identity | None = None
        self._tls = tls
        if isinstance(address, Path):
            self.address_family = socket.AF_UNIX
            address = ("localhost", 0)
        elif ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.connections = Connections()
        self._stopped = locks.event()
        self._is_serving = False
        self._lock = locks.lock()
        self._witness = Witness()
        self._has_ended = locks.event()
        # Not TCPServer's, whose socket would be gevent's where that has replaced Python's.
        BaseServer.__init__(self, address, _Handler)
        self.socket = original(socket, "socket")(self.address_family, self.socket_type)
        try:
            self.server_bind()
            self.server_activate()
        except BaseException:
            self.server_close()
            raise

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks a name server for this machine's name.
        if self.path is not None:
            self._bound = unix_socket.bind(self.socket, self.path)
        else:
            if self.allow_reuse_address:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()
        self.server_name = str(self.server_address[0])
        self.server_port = self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; if the system lacks resources for it, wait before the next try."""
        if not self._witness.is_there():
            raise OSError(errno.EBADF, "the program has closed the listener")
        try:
            accepted, address = accepted_at(self.socket)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self.connections.end_slow()
                self._stopped.wait(_BACK_OFF_SECONDS)
            raise
        if self.path is not None:
            address = ("", 0)  # a client of a Unix socket has no address
        return self._tls.wrapped(accepted) if self._tls is not None else accepted, address

    def _accept(self) -> None:
        """Accept one client, whom another thread answers."""
        try:
            request, address = self.get_request()
        except OSError:
            return
        try:
            self.process_request(request, address)
        except BaseException as error:
            self.shutdown_request(request)
            if not isinstance(error, Exception):
                raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.admit(request):
            arguments = (request, client_address)
            threads.Thread(
                target=self.process_request_thread, args=arguments, name=_THREAD, daemon=True
            ).start()
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        self.connections.closed(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the serving loop, which calls this at each poll, if the listener is lost."""
        if not self._witness.is_there():
            self.connections.close()
            raise Lost
        self.connections.end_late()
        if self.path is not None and self._bound is not None:
            self._bound = unix_socket.bind_again(
                self.socket, self.path, self._bound, self.request_queue_size
            )

    def serve_forever(self, poll_interval: float = POLL_SECONDS) -> None:
        """Serve until `stop`; not at all after it."""
        with self._lock:
            if self._stopped.is_set():
                return
            self._is_serving = True
        # As the base class does, whose selector and event may be gevent's.
        try:
            with selector() as waiting:
                waiting.register(self, selectors.EVENT_READ)
                while not self._stopped.is_set():
                    is_asked = waiting.select(poll_interval)
                    if self._stopped.is_set():
                        break
                    if is_asked:
                        self._accept()
                    self.service_actions()
        finally:
            self._has_ended.set()

    def stop(self) -> None:
        """Stop serving, and close the listener."""
        with self._lock:
            self._stopped.set()
        self.connections.close()
        if self._witness.is_there():
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)  # on Linux this wakes the serving loop
        if self._is_serving:  # else the thread that is to serve may hang before it does
            self._has_ended.wait()
        self.server_close()

    def server_close(self) -> None:
        """Close the listener, if it is ours; a Unix socket is removed."""
        if self._witness.is_there():
            super().server_close()
            self._witness.close()
        else:
            descriptors.leave(self.socket, self.connections)
        if self.path is not None and self._bound is not None:
            unix_socket.remove(self.path, self._bound)

    def forget(self) -> None:
        """Close a forked child's copies of the parent's sockets, which stay open in the parent."""
        if self._witness.is_there():
            self._witness.close()
            self.socket.close()
            self.connections.forget()
        else:
            descriptors.leave(self.socket, self.connections)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: the base class would print a traceback for each client that leaves."""
