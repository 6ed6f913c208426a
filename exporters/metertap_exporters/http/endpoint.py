"""The life of one HTTP endpoint: idle, bound by `start`, gone with `stop`.

Where a default port is taken it moves on to another.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from metertap import faults, locks
from metertap_exporters.http.app import WsgiApp
from metertap_exporters.http.hosts import HostCheck
from metertap_exporters.http.server import POLL_SECONDS, Server

_NEXT_PORTS = range(9110, 9130)
"""Where a default port that is taken moves on to: never onto 9108 or 9109."""


@dataclass(slots=True)
class _Listening:
    """One life of an endpoint, from `start` to `stop`."""

    server: Server | None = None
    ready: threading.Event = field(default_factory=locks.event)


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
    _lock: threading.Lock = field(default_factory=locks.lock, repr=False)

    @property
    def url(self) -> str | None:
        """Its address, such as `http://127.0.0.1:9109`; None while nothing is bound."""
        listening = self._listening
        if listening is None or listening.server is None:
            return None
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{listening.server.server_port}"

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
            if self._listening is not None:
                return
            listening = self._listening = _Listening()
        threading.Thread(
            target=self._serve, args=(listening,), name=f"metertap-{self.label}", daemon=True
        ).start()

    def wait(self, seconds: float) -> str | None:
        """Wait for the URL; None where binding failed or took longer than `seconds`."""
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
        listening, self._listening = self._listening, None
        if listening is not None and listening.server is not None:
            listening.server.forget()

    def _serve(self, listening: _Listening) -> None:
        with faults.guarded(f"endpoint {self.label}"):
            try:
                server = self._bind()
                with self._lock:
                    wanted = self._listening is listening  # it may have been stopped meanwhile
                    if wanted:
                        listening.server = server
                    callback = self._on_bound
            finally:
                listening.ready.set()
            if not wanted:
                if server is not None:
                    server.server_close()
                return
            if callback is not None:
                with faults.guarded(f"endpoint {self.label}"):
                    callback(self)
            if server is not None:
                server.serve_forever(POLL_SECONDS)

    def _bind(self) -> Server | None:
        for port in self._ports():
            try:
                server = Server((self.host.strip("[]"), port))
            except OSError as error:
                self.problem = f"{self.host}:{port} cannot be bound: {error.strerror or error}"
                if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    break
                continue
            if port not in (self.port, 0) or (port == 0 and self.port != 0):
                faults.warn(
                    "port %d is in use by another program; %s is served at http://%s:%d instead "
                    "(%s sets the port)",
                    self.port,
                    self.label,
                    self.host,
                    server.server_port,
                    self.variable,
                )
            self.problem = None
            server.set_app(HostCheck(self.app, self.host, self.allowed_hosts))
            return server
        faults.warn(
            "%s is not served: %s (%s sets another)", self.label, self.problem, self.variable
        )
        return None

    def _ports(self) -> list[int]:
        if self.explicit:
            return [self.port]
        return [self.port, *_NEXT_PORTS, 0]
