"""HTTP connections to a collector that end in time, and use no descriptor of the program.

A timeout of `requests` is for each read, so a collector that goes on sending is never late. And a
connection stays open between two exports: a program that closes all descriptors (a daemon, a
sandbox) may then have a file or connection of its own under that number.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from metertap import locks, threads
from metertap.descriptors import identity, leave
from metertap.http_answers import Answer


class Adapter(HTTPAdapter):
    """Connections that are made and used one after the other; the newest is known."""

    newest: _Connection | None = None
    is_secret = False
    """Whether the request in progress has headers that the operator sets, as a token is."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._follow(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if is_new:
            self._follow(manager)
        return manager

    def _follow(self, manager: Any) -> None:
        """Have a manager make connections that are known here, of each kind that it uses."""
        manager.pool_classes_by_scheme = {
            scheme: type(
                pool.__name__,
                (pool,),
                {
                    "ConnectionCls": type(
                        pool.ConnectionCls.__name__,
                        (_Connection, pool.ConnectionCls),
                        {"adapter": self},
                    )
                },
            )
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Cut the exchange in the block after so many seconds."""
        if self.newest is not None and self.newest.is_gone():
            self.newest.close()  # a new one is made
        ended = locks.event()

        def watch() -> None:
            if not ended.wait(seconds) and self.newest is not None:
                self.newest.cut()

        with suppress(RuntimeError):  # no thread can start while Python 3.12 finalises
            threads.Thread(target=watch, name="metertap-otlp-limit", daemon=True).start()
        try:
            yield
        finally:
            ended.set()


class _Connection(HTTPConnection):
    """A connection that another thread may cut, and that knows if the program has closed it."""

    adapter: Adapter
    response_class = Answer
    _identity: tuple[int, int] | None = None
    """The identity of its socket; None until it is connected."""

    def connect(self) -> None:
        """Connect; at `localhost` first to 127.0.0.1, since another user may listen at ::1.

        What is secret never goes to ::1, unless over TLS, where a certificate is shown first.
        """
        self.adapter.newest, self._identity = self, None
        if self.host == "localhost" and not isinstance(self, HTTPSConnection):
            try:
                self.host = "127.0.0.1"  # what is sent has the name, which is there again by then
                super().connect()
            except NewConnectionError:
                if self.adapter.is_secret:
                    raise
            finally:
                self.host = "localhost"
        if self.sock is None:
            super().connect()
        if self.sock is not None:
            self._identity = identity(self.sock.fileno())

    def is_gone(self) -> bool:
        """Return whether the program has closed it: the number is unused, or the program's own."""
        connected, known = self.sock, self._identity
        return connected is not None and known is not None and identity(connected.fileno()) != known

    def close(self) -> None:
        if self.is_gone():
            leave(self.sock)
            self.sock = None
        super().close()

    def cut(self) -> None:
        """End the exchange at once."""
        connected: Any = self.sock
        if connected is not None and not self.is_gone():
            with suppress(Exception):  # it has ended meanwhile
                # Not the method of SSLSocket: its thread's next write would go out unencrypted.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
