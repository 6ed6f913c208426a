"""The HTTP endpoint under both servers: WSGI on loopback, in daemon threads, guarded.

It answers GET and HEAD, checks `Host` (a web page must not read a developer's metrics by DNS
rebinding), bounds the number of connections and the time that each may take, and never blocks or
outlives the program.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from metertap import guard

Environ = Mapping[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_SOCKET_TIMEOUT_SECONDS = 5.0
_CONNECTION_SECONDS = 10.0
"""No connection lasts longer, however slowly its client reads or writes."""
_CONNECTIONS = 64
"""Past these, a new one takes the place of the oldest that has not said yet what it wants."""
_POLL_SECONDS = 0.25  # how often late connections are looked for
_NEXT_PORTS = range(9110, 9130)
"""Where a default port that is taken moves on to: never onto 9108 or 9109."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; `reason` replaces the standard phrase of the status line."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None


Route = Callable[[Environ], Response]


def json_response(
    status: int, document: object, reason: str | None = None, **headers: str
) -> Response:
    """`document` as JSON; NaN and infinity are errors, not text that no parser reads."""
    body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    return Response(status, "application/json", body, tuple(headers.items()), reason)


def json_error(status: int, message: str, reason: str | None = None, **headers: str) -> Response:
    """An error as JSON: `{"error": {"status": …, "message": …}}`."""
    error = {"error": {"status": status, "message": message}}
    return json_response(status, error, reason, **headers)


class App:
    """WSGI application of some routes: GET and HEAD, every error as JSON."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        try:
            response = self._answer(path, environ)
        except Exception as error:
            guard.fault(f"endpoint {path}", error)
            response = json_error(500, "the answer could not be made; the program's log says why")
        return _send(response, environ, start_response)

    def _answer(self, path: str, environ: Environ) -> Response:
        route = self._routes.get(path)
        if route is None:
            return json_error(404, f"nothing is here; there is {', '.join(sorted(self._routes))}")
        if environ.get("REQUEST_METHOD") not in {"GET", "HEAD"}:
            return json_error(405, "only GET and HEAD are answered", Allow="GET, HEAD")
        return route(environ)


def from_wsgi(app: WsgiApp) -> Route:
    """A route that asks a WSGI application, and has the whole answer before any of it is sent."""

    def route(environ: Environ) -> Response:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_exc_info: Any) -> None:
            started.append((status, headers))

        body = b"".join(app({**environ, "REQUEST_METHOD": "GET"}, start_response))
        status, headers = started[-1]
        named = {name.lower(): value for name, value in headers}
        others = tuple(pair for pair in headers if pair[0].lower() != "content-type")
        return Response(int(status[:3]), named.get("content-type", "text/plain"), body, others)

    return route


def _send(response: Response, environ: Environ, start_response: StartResponse) -> list[bytes]:
    reason = response.reason or HTTPStatus(response.status).phrase
    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
        *response.headers,
    ]
    start_response(f"{response.status} {reason}", headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]


class HostCheck:
    """WSGI middleware that refuses a `Host` that is not this server's."""

    def __init__(self, app: WsgiApp, bound_host: str, allowed: frozenset[str]) -> None:
        self._app = app
        self._bound = bound_host.strip("[]").lower()
        self._loopback = is_loopback(bound_host)
        self._allowed = frozenset(name.lower() for name in allowed)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST")
        if self.accepts(host):
            return self._app(environ, start_response)
        message = f"Host {host!r} is not served here"
        if not self._loopback:
            message += "; METERTAP_ALLOWED_HOSTS names those that are"
        return _send(json_error(403, message), environ, start_response)

    def accepts(self, header: str | None) -> bool:
        """Whether a request with this `Host` header is answered."""
        if header is None:
            return self._loopback  # HTTP/1.0; browsers always send one
        name = _host_name(header)
        if name in _LOOPBACK_NAMES or _is_loopback_address(name) or name == self._bound:
            return True
        return not self._loopback and ("*" in self._allowed or name in self._allowed)


def _host_name(header: str) -> str:
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if header.count(":") == 1 else header


def is_loopback(host: str) -> bool:
    """Whether `host` is a name or an address of this machine alone."""
    host = host.strip("[]").lower()
    return host in _LOOPBACK_NAMES or _is_loopback_address(host)


def _is_loopback_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _QuietHandler(ServerHandler):
    """A client that goes away is no error; another failure is a fault of ours."""

    def log_exception(
        self,
        exc_info: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> None:
        if exc_info[1] is not None and not isinstance(exc_info[1], OSError):
            guard.fault("endpoint", exc_info[1])


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
        self.server.is_read(self.connection)  # type: ignore[attr-defined]  # it is our _Server
        handler = _QuietHandler(
            self.rfile,
            self.wfile,  # type: ignore[arg-type]  # typeshed wants a BytesIO; wsgiref writes only
            self.get_stderr(),
            self.get_environ(),
            multithread=True,
        )
        handler.request_handler = self  # type: ignore[attr-defined]  # as wsgiref itself does
        handler.run(self.server.get_app())  # type: ignore[attr-defined]


class _Server(ThreadingMixIn, WSGIServer):
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
        self._connections_lock = threading.Lock()
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


@dataclass(slots=True)
class _Listening:
    """One life of an endpoint, from `start` to `stop`."""

    server: _Server | None = None
    ready: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True, eq=False)
class Endpoint:
    """One HTTP server: made idle, bound by `start`, gone with `stop`.

    `explicit` ports never move: where one is taken there is a warning and no endpoint.
    """

    label: str
    app: WsgiApp
    host: str
    port: int
    explicit: bool
    variable: str
    allowed_hosts: frozenset[str] = frozenset()
    problem: str | None = None
    _on_bound: Callable[[Endpoint], None] | None = None
    _listening: _Listening | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def url(self) -> str | None:
        """`http://127.0.0.1:9109`, or None while nothing is bound."""
        listening = self._listening
        if listening is None or listening.server is None:
            return None
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{listening.server.server_port}"

    def on_bound(self, callback: Callable[[Endpoint], None] | None) -> None:
        """Call `callback` whenever the endpoint is bound; now, if it is."""
        with self._lock:
            self._on_bound = callback
            bound = self.url is not None
        if bound and callback is not None:
            callback(self)

    def start(self) -> None:
        """Bind and serve from a daemon thread; returns at once. Starts once."""
        with self._lock:
            if self._listening is not None:
                return
            listening = self._listening = _Listening()
        threading.Thread(
            target=self._serve, args=(listening,), name=f"metertap-{self.label}", daemon=True
        ).start()

    def wait(self, seconds: float) -> str | None:
        """The URL once bound; None where binding failed or took longer than `seconds`."""
        listening = self._listening
        if listening is not None:
            listening.ready.wait(seconds)
        return self.url

    def stop(self) -> None:
        """Close the listener. The endpoint can be started again."""
        with self._lock:
            listening, self._listening = self._listening, None
            server = listening.server if listening is not None else None
        if server is not None:
            server.stop()

    def forked(self) -> None:
        """In a forked child: the listener is the parent's; this copy of its sockets is closed."""
        self._lock = threading.Lock()
        listening, self._listening = self._listening, None
        if listening is not None and listening.server is not None:
            listening.server.forget()

    def _serve(self, listening: _Listening) -> None:
        with guard.guarded(f"endpoint {self.label}"):
            try:
                server = self._bind()
                with self._lock:
                    wanted = self._listening is listening  # it may have been stopped meanwhile
                    if wanted:
                        listening.server = server
                    callback = self._on_bound
            finally:
                listening.ready.set()
            if server is None:
                return
            if not wanted:
                server.server_close()
                return
            if callback is not None:
                with guard.guarded(f"endpoint {self.label}"):
                    callback(self)
            server.serve_forever(_POLL_SECONDS)

    def _bind(self) -> _Server | None:
        for port in self._ports():
            try:
                server = _Server((self.host.strip("[]"), port))
            except OSError as error:
                self.problem = f"{self.host}:{port} cannot be bound: {error.strerror or error}"
                if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    break
                continue
            if port not in (self.port, 0) or (port == 0 and self.port != 0):
                guard.warn(
                    "port %d is taken; %s is served at http://%s:%d (%s sets another)",
                    self.port,
                    self.label,
                    self.host,
                    server.server_port,
                    self.variable,
                )
            self.problem = None
            server.set_app(HostCheck(self.app, self.host, self.allowed_hosts))
            return server
        guard.warn(
            "%s is not served: %s (%s sets another)", self.label, self.problem, self.variable
        )
        return None

    def _ports(self) -> list[int]:
        if self.explicit:
            return [self.port]
        return [self.port, *_NEXT_PORTS, 0]
