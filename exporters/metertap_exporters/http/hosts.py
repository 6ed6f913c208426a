"""The `Host` headers that an endpoint accepts.

A foreign one is refused: a web page must not read a developer's metrics by DNS rebinding. As
HTTP/1.1 demands, a missing or repeated header, or one with more than a host and a port, is an
error.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from metertap_exporters.http.app import StartResponse, WsgiApp, json_error, send

_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_HOST = r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{0,5})?"


class HostCheck:
    """WSGI middleware that refuses a `Host` that does not mean this server."""

    def __init__(self, app: WsgiApp, bound_host: str, allowed: frozenset[str]) -> None:
        self._app = app
        self._bound = bound_host.strip("[]").lower()
        self._loopback = is_loopback(bound_host)
        self._allowed = frozenset(name.lower() for name in allowed)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST")
        # Several headers arrive as one with commas, which is no host.
        if host_name(host) is None if host is not None else _needs_host(environ):
            return send(json_error(400, "one valid Host is needed"), environ, start_response)
        if self.accepts(host):
            return self._app(environ, start_response)
        message = f"Host {host!r} is not served here"
        if not self._loopback:
            message += "; METERTAP_ALLOWED_HOSTS names those that are"
        return send(json_error(403, message), environ, start_response)

    def accepts(self, header: str | None) -> bool:
        """Return whether a request with this `Host` header is answered."""
        if header is None:
            return self._loopback  # HTTP/1.0; browsers always send one
        name = host_name(header)
        if name is None:
            return False
        if name in _LOOPBACK_NAMES or _is_loopback_address(name) or name == self._bound:
            return True
        return not self._loopback and ("*" in self._allowed or name in self._allowed)


def host_name(header: str) -> str | None:
    """Return the name or address in a `Host` header; None if it has more than that and a port."""
    matched = re.fullmatch(_HOST, header.strip(" \t").lower())
    if matched is None:
        return None
    address = matched["v6"]
    if address is None:
        return matched["name"]
    return address if _is_address(address) else None


def _needs_host(environ: dict[str, Any]) -> bool:
    return environ.get("SERVER_PROTOCOL") not in {"HTTP/0.9", "HTTP/1.0"}


def is_loopback(host: str) -> bool:
    """Return whether `host` is a name or an address of this machine only."""
    host = host.strip("[]").lower()
    return host in _LOOPBACK_NAMES or _is_loopback_address(host)


def _is_loopback_address(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
