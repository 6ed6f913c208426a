"""One POST: straight to its address, without proxies, redirects or the answer's body.

`http.client` and nothing above it: what instruments HTTP clients in this process must not take our
requests for the program's.
"""

from __future__ import annotations

import http.client
import socket
from contextlib import suppress

from metertap._version import __version__
from metertap.settings.address import Address

TIMEOUT_SECONDS = 5.0
"""The longest that one step of a request may take."""


class Post:
    """One request. `run` says what went wrong; another thread may `cut` it."""

    def __init__(self, address: Address, target: str, body: bytes) -> None:
        kind = (
            http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(address.host, address.port, timeout=TIMEOUT_SECONDS)
        self._target = target
        self._body = body
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"metertap/{__version__}",
            "Connection": "close",
        }
        if address.authorization is not None:
            self._headers["Authorization"] = address.authorization

    def run(self) -> str | None:
        """Send it. Returns None when it was taken, else why not: never a part of the address."""
        connection = self._connection
        try:
            connection.request("POST", self._target, self._body, self._headers)
            response = connection.getresponse()
            try:
                status = response.status
            finally:
                response.close()
        except TimeoutError:
            return "no answer in time"
        except OSError as error:
            return error.strerror or type(error).__qualname__
        except Exception as error:  # what answers is no HTTP server
            return type(error).__qualname__
        finally:
            connection.close()
        if 200 <= status < 300:
            return None
        if 300 <= status < 400:
            return f"answers {status}; redirects are not followed"
        return f"answers {status}"

    def cut(self) -> None:
        """End it, wherever it is."""
        connected: socket.socket | None = self._connection.sock
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
