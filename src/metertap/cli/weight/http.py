"""A server that listens at a URL: MCP's streamable HTTP."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

from metertap.cli.client import connected, within
from metertap.cli.credentials import Credentials
from metertap.cli.weight.session import MOST_BYTES, PROTOCOL, Deadline, Unusable, shown

_SESSION = "Mcp-Session-Id"
_STREAM = "text/event-stream"
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")


class Http:
    """Messages to and from a server at a URL, each in a request of its own."""

    def __init__(self, url: str, credentials: Credentials, deadline: Deadline) -> None:
        self._url, self._credentials, self._deadline = url, credentials, deadline
        self._session: str | None = None
        self._protocol = PROTOCOL
        self._messages: deque[str] = deque()
        self._received = 0

    def send(self, message: dict[str, Any]) -> None:
        """Send one message, and read the answers to it."""
        self._messages += self._post("POST", json.dumps(message).encode(), message)

    def agree(self, version: str) -> None:
        """Send this protocol version from now on, if it is well-formed."""
        if _VERSION.fullmatch(version):
            self._protocol = version

    def receive(self) -> str:
        """Return the next message of those that answered the last request."""
        if not self._messages:
            raise Unusable("it ends its answer without a result")
        return self._messages.popleft()

    def close(self) -> None:
        """End the session, whatever the server answers."""
        if self._session is not None:
            with suppress(Unusable):
                self._post("DELETE", None, {})

    def _post(self, method: str, body: bytes | None, message: dict[str, Any]) -> list[str]:
        try:
            host, port, is_encrypted = self._address()
            is_secret = self._credentials.authorization() is not None
            with connected(host, port, self._deadline.left(), is_secret=is_secret) as plain:
                if not is_encrypted:
                    return self._ask(plain, method, body, message)
                with self._credentials.tls().wrap_socket(
                    plain, server_hostname=host, do_handshake_on_connect=False
                ) as encrypted:
                    return self._ask(encrypted, method, body, message)
        except TimeoutError:
            raise self._deadline.missed() from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unusable(shown(str(error) or type(error).__qualname__)) from None

    def _ask(
        self, line: socket.socket, method: str, body: bytes | None, message: dict[str, Any]
    ) -> list[str]:
        with within(self._deadline.left(), line):
            if isinstance(line, ssl.SSLSocket):
                line.do_handshake()
            host, port, _ = self._address()
            connection = http.client.HTTPConnection(host, port)
            connection.sock = line
            connection.request(method, self._path(), body, self._headers())
            with closing(connection), connection.getresponse() as response:
                if not 200 <= response.status < 300:
                    raise Unusable(f"it answers {response.status} {shown(response.reason)}")
                self._session = response.getheader(_SESSION) or self._session
                if "id" not in message or "method" not in message:
                    return []
                is_stream = (response.getheader("Content-Type") or "").startswith(_STREAM)
                return list(self._read(response, message["id"], is_stream))

    def _address(self) -> tuple[str, int, bool]:
        """Return host and port, and whether TLS is used."""
        parts = urlsplit(self._url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Unusable("it is no http:// or https:// address")
        is_encrypted = parts.scheme == "https"
        return parts.hostname, parts.port or (443 if is_encrypted else 80), is_encrypted

    def _path(self) -> str:
        parts = urlsplit(self._url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": f"application/json, {_STREAM}",
            "Connection": "close",
        }
        if self._session is not None:
            headers |= {_SESSION: self._session, "Mcp-Protocol-Version": self._protocol}
        shown_token = self._credentials.authorization()
        if shown_token is not None:
            headers["Authorization"] = shown_token
        return headers

    def _read(
        self, response: http.client.HTTPResponse, wanted: int, is_stream: bool
    ) -> Iterator[str]:
        """Yield each message of an answer, up to the response to the request."""
        whole = bytearray()
        while part := response.read1(2**16):
            self._deadline.left()  # what has come before the connection was cut is still read
            self._received += len(part)
            if self._received > MOST_BYTES:
                raise Unusable(f"it sends more than {MOST_BYTES >> 20} MB")
            whole += part
            for event in _whole_events(whole) if is_stream else ():
                yield event
                if _is_answer(event, wanted):
                    return
        if not is_stream:
            yield whole.decode()


def _whole_events(stream: bytearray) -> Iterator[str]:
    """Take the complete events out of a stream, and yield the data of each that has any."""
    *events, stream[:] = stream.replace(b"\r\n", b"\n").split(b"\n\n")
    for event in events:
        data = [
            line.removeprefix(b"data:").removeprefix(b" ")
            for line in event.split(b"\n")
            if line.startswith(b"data:")
        ]
        if any(data):
            yield b"\n".join(data).decode()


def _is_answer(text: str, wanted: int) -> bool:
    with suppress(ValueError, RecursionError):
        message = json.loads(text)
        return isinstance(message, dict) and message.get("id") == wanted and "method" not in message
    return False
