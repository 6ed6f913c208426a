"""The life of one HTTP endpoint: idle, bound by `start`, gone with `stop`.

If a default port is in use, it takes another one.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

from metertap import faults, locks, threads
from metertap.settings.settings import Settings
from metertap.settings.table import AUTO, TABLE
from metertap.unmocked import unmocked
from metertap_exporters.http import unix_socket
from metertap_exporters.http.access import OPEN, Access
from metertap_exporters.http.app import WsgiApp
from metertap_exporters.http.hosts import HostCheck, is_loopback
from metertap_exporters.http.listeners import process_at
from metertap_exporters.http.server import POLL_SECONDS, Lost, Server
from metertap_exporters.http.tls import ServerTls

_NEXT_PORTS = range(9110, 9130)
"""The ports to try after a default port that is in use: never 9108 or 9109."""
_RETRY_SECONDS = 0.02
_MOMENT_SECONDS = 0.2
"""How long, in seconds, to wait for a default port: a restarted program may still hold it."""


class _Listening:
    """One life of an endpoint, from `start` to `stop`."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.ready = locks.event()
        self.is_asked_again = False
        """Whether `start` was called since it was asked whether the endpoint may be bound."""


class Endpoint:
    """One HTTP server: made idle, bound by `start`, gone with `stop`.

    An `explicit` port never changes: if it is in use, there is a warning and no endpoint. With a
    `socket`, it listens there, and at no port.
    """

    # No dataclass: making one with so many fields takes a third of a millisecond at each start.
    def __init__(
        self,
        label: str,
        app: WsgiApp,
        host: str,
        port: int,
        explicit: bool,
        variable: str,
        allowed_hosts: frozenset[str] = frozenset(),
        *,
        access: Access = OPEN,
        socket: Path | None = None,
    ) -> None:
        self.label = label
        self.app = app
        self.host = host
        self.port = port
        self.explicit = explicit
        self.variable = variable
        self.allowed_hosts = allowed_hosts
        self.access = access
        self.socket = socket
        self.problem: str | None = None
        self.is_stopped = False
        """Whether it was stopped, and not started since."""
        self.may_bind: Callable[[], bool] | None = None
        """Asked before binding; returns False if another process listens here."""
        self.patience_seconds = 0.0
        """How long, in seconds, to wait for a port that another worker is about to leave."""
        self.kept_port: Callable[[str], tuple[int, bool] | None] | None = None
        """Returns the port that workers share, and whether one of them is about to leave it."""
        self.keep_port: Callable[[str, int], None] | None = None
        """Notes the port for the other workers, once the endpoint listens at it."""
        self._on_bound: Callable[[Endpoint], None] | None = None
        self._listening: _Listening | None = None
        self._lock = locks.lock()

    @classmethod
    def by(cls, settings: Settings, label: str, app: WsgiApp) -> Endpoint:
        """Return the endpoint of that name by these settings."""
        port, socket = f"{label}_port", f"{label}_socket"
        path: Path | None = getattr(settings, socket)
        return cls(
            label=label,
            app=app,
            host=getattr(settings, f"{label}_host"),
            port=getattr(settings, port),
            explicit=settings.is_explicit(port) or path is not None,
            variable=TABLE[port if path is None else socket][0],
            allowed_hosts=settings.allowed_hosts,
            access=Access.by(settings),
            socket=path,
        )

    @property
    def is_shared(self) -> bool:
        """Whether all processes with these settings should listen at this address."""
        return _is_shared(self.port, self.socket)

    @property
    def is_starting(self) -> bool:
        """Whether it is about to listen."""
        listening = self._listening
        return listening is not None and not listening.ready.is_set()

    @property
    def url(self) -> str | None:
        """Its address, such as `http://127.0.0.1:9109`; None while nothing is bound.

        A socket's is `unix:` with its path.
        """
        listening = self._listening
        if listening is None or listening.server is None:
            return None
        if listening.server.path is not None:
            return f"unix:{listening.server.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self.access.certfile is None else "https"
        return f"{scheme}://{host}:{listening.server.server_port}"

    def at(self, path: str) -> str | None:
        """Return the address of a path, for people; None while nothing is bound."""
        url = self.url
        if url is not None and self.socket is not None:
            return f"{path} of {url}"
        return url and url + path

    def on_bound(self, callback: Callable[[Endpoint], None] | None) -> None:
        """Call `callback` whenever the endpoint is bound or cannot be; now, if it is bound."""
        with self._lock:
            self._on_bound = callback
            bound = self.url is not None
        if bound and callback is not None:
            callback(self)

    def start(self) -> None:
        """Bind and serve from a daemon thread; returns at once. Starts once."""
        with self._lock:
            self.is_stopped = False
            if self._listening is not None:
                self._listening.is_asked_again = True
                return
            listening = self._listening = _Listening()
        threads.Thread(
            target=self._serve, args=(listening,), name=f"metertap-{self.label}", daemon=True
        ).start()

    def wait(self, seconds: float) -> str | None:
        """Wait for the URL; None if binding failed or took longer than `seconds`."""
        listening = self._listening
        if listening is not None:
            listening.ready.wait(seconds)
        return self.url

    def stop(self) -> None:
        """Close the listener. The endpoint can be started again."""
        with self._lock:
            self.is_stopped = True
            listening, self._listening = self._listening, None
            server = listening.server if listening is not None else None
        if server is not None:
            server.stop()

    def forked(self) -> None:
        """Close a forked child's copy of the listener, which is the parent's."""
        listening, self._listening = self._listening, None
        if listening is not None and listening.server is not None:
            listening.server.forget()

    def _serve(self, listening: _Listening) -> None:
        with faults.guarded(f"endpoint {self.label}"):
            server, is_late = None, False
            try:
                listening.is_asked_again = False
                may_bind = self.may_bind is None or self.may_bind()
                if may_bind:
                    server = self._bind(listening)
                with self._lock:
                    wanted = self._listening is listening  # it may have been stopped meanwhile
                    if wanted and may_bind:
                        listening.server = server
                    elif wanted:
                        self._listening = None  # another start may take its place
                        is_late = listening.is_asked_again  # and may have come already
            finally:
                listening.ready.set()
            if not wanted:
                if server is not None:
                    server.server_close()
                return
            self._settled()
            if is_late:
                self.start()
            if server is not None:
                try:
                    server.serve_forever(POLL_SECONDS)
                except Lost:
                    self.problem = "the program has closed its descriptors"
                    faults.warn("%s is served no more: %s", self.label, self.problem)

    def _settled(self) -> None:
        with faults.guarded(f"endpoint {self.label}"):
            callback = self._on_bound
            if callback is not None:
                callback(self)

    def _bind(self, listening: _Listening) -> Server | None:
        try:
            app = self.access.guarded(self.app)
            server = self._listener(listening)
        except ValueError as error:
            self.problem = str(error)
            server = None
        if server is None:
            # A problem of access was reported when the settings were read.
            if self.problem != self.access.problem and self._listening is listening:
                faults.warn("%s is not served: %s", self.label, self.problem)
            return None
        self.problem = None
        host = self.host if self.socket is None else "localhost"
        server.set_app(HostCheck(app, host, self.allowed_hosts))
        if self.access.is_open and not is_loopback(host):
            faults.warn_once(
                "open endpoint",
                "EVERYBODY who reaches %s:%d may read the metrics: it listens beyond this machine, "
                "and asks for no token (METERTAP_TOKEN_FILE) and no certificate "
                "(METERTAP_TLS_CLIENT_CAFILE)",
                host,
                server.server_port,
            )
        return server

    def _listener(self, listening: _Listening) -> Server | None:
        """Bind the socket, or the first free port. Raises ValueError for a certificate."""
        if self.socket is not None:
            path = unix_socket.place(self.socket, self.label)
            try:
                return Server(path)
            except OSError as error:
                self._cannot_bind(path, error, f"{self.variable} sets another")
                return None
        tls = self.access.tls()
        expected, seconds = self._expected()
        for port in dict.fromkeys((expected, *self._ports())):
            try:
                server = self._server_at(port, tls, seconds, listening)
            except OSError as error:
                is_ports = error.errno in {errno.EADDRINUSE, errno.EACCES}
                advice = "PORT=0 takes any free port" if is_ports else "HOST sets the address"
                prefix = self.variable.removesuffix("PORT")
                self._cannot_bind(f"{self.host}:{port}", error, f"{prefix}{advice}")
                seconds = 0.0  # only the first port is about to be left
                if not is_ports:
                    break
                continue
            if self.keep_port is not None:
                self.keep_port(self.label, server.server_port)
            if port != expected:
                faults.warn(
                    "%s; %s is served at %s://%s:%d instead (%s%s sets the port)",
                    _in_use(expected),
                    self.label,
                    "http" if tls is None else "https",
                    self.host,
                    server.server_port,
                    "metertap open finds it, " if self.label == "json" else "",
                    self.variable,
                )
            return server
        return None

    def _cannot_bind(self, address: object, error: OSError, advice: str) -> None:
        self.problem = f"{address} cannot be bound: {error.strerror or error} ({advice})"

    def _server_at(
        self, port: int, tls: ServerTls | None, seconds: float, listening: _Listening
    ) -> Server:
        until = unmocked.monotonic() + seconds
        while True:
            try:
                return Server((self.host.strip("[]"), port), tls)
            except OSError as error:
                is_late = unmocked.monotonic() > until or self._listening is not listening
                if error.errno != errno.EADDRINUSE or is_late:
                    raise
                if self.problem is None and seconds > _MOMENT_SECONDS:
                    self.problem = f"it waits: {_in_use(port)}"
                    self._settled()
                time.sleep(_RETRY_SECONDS)

    def _expected(self) -> tuple[int, float]:
        """Return the port where clients expect it, and the seconds to wait while that is in use."""
        kept = None if self.explicit or not self.kept_port else self.kept_port(self.label)
        port, is_left_soon = kept or (self.port, self.explicit)
        seconds = self.patience_seconds
        return port, seconds if is_left_soon else min(seconds, _MOMENT_SECONDS)

    def _ports(self) -> list[int]:
        if self.explicit:
            return [self.port]
        return [self.port, *_NEXT_PORTS, 0]


def _in_use(port: int) -> str:
    pid = process_at(port)
    return f"port {port} is in use by {f'process {pid}' if pid else 'another process'}"


def shared_address(settings: Settings, label: str) -> str | None:
    """Return the address that all processes with these settings should share, if there is one."""
    port, path = getattr(settings, f"{label}_port"), getattr(settings, f"{label}_socket")
    host = getattr(settings, f"{label}_host")
    return f"{label} {path or f'{host} {port}'}" if _is_shared(port, path) else None


def _is_shared(port: int, path: Path | None) -> bool:
    return port != 0 if path is None else path != AUTO
