"""Which `Host` an endpoint answers to.

A foreign one is refused: a web page must not read a developer's metrics by DNS rebinding.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from metertap_exporters.http.app import StartResponse, WsgiApp, json_error, send

_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


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
        return send(json_error(403, message), environ, start_response)

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
