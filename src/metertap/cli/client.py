"""The one HTTP client of the command line.

Any program may be listening at an address. Nothing that it answers can make a command ask
elsewhere, wait without end, or fill the memory.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import SplitResult, urlsplit

from metertap.cli.credentials import Credentials

SECONDS = 5.0
"""How long one exchange may take, from connecting to the last byte."""
_LEAST_SECONDS = 0.5
"""The least, in seconds, that is waited for one of a host's addresses, while there is time."""
MOST_BYTES = 16 * 2**20
"""The largest body that is read. A document of 2,000 series, the most that are kept, has 2 MB."""
_MOST_TOLD = 200
"""The most characters of a reason that are passed on, since it may quote a long answer."""
_LAST_PORT = 65535
_PEER = struct.Struct("3i")
UNIX = "unix:"
"""How the address of a Unix socket begins; its path follows."""
NONE = Credentials()
"""No credentials: no token and no certificate is sent."""


class Unreachable(Exception):
    """An endpoint that gave no usable answer; the text is one line that says why."""

    def __init__(
        self, address: str, reason: str, *, is_refused: bool = False, is_unknown: bool = False
    ) -> None:
        shorter = reason if len(reason) <= _MOST_TOLD else f"{reason[:_MOST_TOLD]}…"
        super().__init__(f"{address}: {shorter}")
        self.reason = shorter
        self.is_refused = is_refused
        """Whether nothing listens there, as opposed to a process that does not answer."""
        self.is_nowhere = is_refused or is_unknown
        """Whether nothing listens there, or no host has that name, if only for the moment."""


def get(url: str, path: str = "", credentials: Credentials = NONE) -> bytes:
    """Return the body of the answer at `path` of `url`, where `unix:PATH` is a socket.

    Takes at most `SECONDS` and `MOST_BYTES`, follows no redirect and uses no proxy. Raises
    Unreachable, and nothing else.
    """
    try:
        headers = {"Connection": "close"}
        shown = credentials.authorization()
        if shown is not None:
            headers["Authorization"] = shown
        if url.startswith(UNIX):
            return _ask_socket(url.removeprefix(UNIX), path, headers, credentials.is_for_own)
        return _ask_port(urlsplit(url), path, headers, credentials)
    except TimeoutError:
        raise Unreachable(url + path, f"no whole answer within {SECONDS:g} s") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        refused = isinstance(error, ConnectionRefusedError)
        unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        reason = str(error) or type(error).__qualname__
        raise Unreachable(url + path, reason, is_refused=refused, is_unknown=unknown) from None


def _ask_socket(place: str, path: str, headers: dict[str, str], is_for_own: bool) -> bytes:
    """Ask at a socket, which may be another user's: a deleted folder in /tmp can be made again."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(SECONDS)
        line.connect(place)
        if is_for_own and "Authorization" in headers and not _is_own(line):
            raise ValueError("another user listens there; only --token-file FILE shows a token")
        return _ask(line, http.client.HTTPConnection("localhost"), path, headers)


def _is_own(line: socket.socket) -> bool:
    """Return whether the process that listens there belongs to this user or to the system."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return _PEER.unpack(found)[1] in {0, os.getuid()}


def _ask_port(
    url: SplitResult, path: str, headers: dict[str, str], credentials: Credentials
) -> bytes:
    if not url.hostname:
        raise ValueError("it names no host")
    number = url.netloc.rpartition(":")[2]
    if number.isdecimal() and int(number) > _LAST_PORT:  # as most process ids are
        raise ConnectionRefusedError(f"no port is above {_LAST_PORT}")
    port = url.port or (443 if url.scheme == "https" else 80)
    connection = http.client.HTTPConnection(url.hostname, port)
    tls = credentials.tls() if url.scheme == "https" else None
    is_secret = "Authorization" in headers
    with connected(url.hostname, port, SECONDS, is_secret=is_secret) as plain:
        if tls is None:
            return _ask(plain, connection, path or url.path, headers)
        with tls.wrap_socket(
            plain, server_hostname=url.hostname, do_handshake_on_connect=False
        ) as encrypted:
            return _ask(encrypted, connection, path or url.path, headers, credentials.check)


def connected(host: str, port: int, seconds: float, *, is_secret: bool) -> socket.socket:
    """Connect in so many seconds; at `localhost` first to 127.0.0.1, where endpoints listen.

    Another program may listen at ::1, so what `is_secret` does not go there. Raises OSError.
    """
    if host == "localhost":
        try:
            return _connected("127.0.0.1", port, seconds)
        except ConnectionRefusedError:
            if is_secret:
                raise
    return _connected(host, port, seconds)


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to one of a host's addresses in so many seconds in all; then a timeout of as many.

    `socket.create_connection` waits as long for each address, and a host may have thousands. Raises
    OSError.
    """
    until = time.monotonic() + seconds
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    error: OSError = TimeoutError()
    for number, (family, kind, protocol, _, address) in enumerate(found):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        line = socket.socket(family, kind, protocol)
        try:
            line.settimeout(min(left, max(left / (len(found) - number), _LEAST_SECONDS)))
            line.connect(address)
            line.settimeout(seconds)
            return line
        except OSError as failed:
            error = failed
            line.close()
        except BaseException:
            line.close()
            raise
    raise error


def _ask(
    line: socket.socket,
    connection: http.client.HTTPConnection,
    path: str,
    headers: dict[str, str],
    check: Callable[[ssl.SSLSocket], None] | None = None,
) -> bytes:
    with within(SECONDS, line):
        if isinstance(line, ssl.SSLSocket):
            line.do_handshake()
            if check is not None:
                check(line)
        connection.sock = line
        connection.request("GET", path, headers=headers)
        with closing(connection), connection.getresponse() as response:
            _check_status(response, is_shown="Authorization" in headers)
            body = response.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise ValueError(f"its answer is longer than {MOST_BYTES >> 20} MB")
    return body


@contextmanager
def within(seconds: float, line: socket.socket) -> Iterator[None]:
    """End the connection if the block takes longer than `seconds`; then it raises TimeoutError.

    A socket's own timeout limits the wait for each byte, not the wait for all of them.
    """
    is_late = threading.Event()

    def cut() -> None:
        is_late.set()
        with suppress(OSError):
            # This wakes the thread that reads. SSLSocket's own method would end TLS first, and a
            # token that is being written would go out in clear.
            socket.socket.shutdown(line, socket.SHUT_RDWR)

    alarm = threading.Timer(seconds, cut)
    alarm.daemon = True
    alarm.start()
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException):
        if is_late.is_set():
            raise TimeoutError from None
        raise
    finally:
        alarm.cancel()
    if is_late.is_set():  # a truncated answer without a length looks complete
        raise TimeoutError


def _check_status(response: http.client.HTTPResponse, *, is_shown: bool) -> None:
    if response.status == http.HTTPStatus.UNAUTHORIZED:
        other = "another token than the one that was shown" if is_shown else "a token"
        raise ValueError(f"it asks for {other}: --token-file FILE, or METERTAP_TOKEN_FILE")
    if response.status != http.HTTPStatus.OK:
        raise ValueError(f"it answers {response.status} {response.reason}")
