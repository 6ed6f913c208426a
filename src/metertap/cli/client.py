"""The one HTTP client of the command line.

Whatever listens at an address may be a stranger's program, so nothing that it answers can make a
command ask elsewhere, wait without end, or fill the memory.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextlib import closing, suppress
from urllib.parse import SplitResult, urlsplit

SECONDS = 5.0
"""How long one exchange may take, from connecting to the last byte."""
MOST_BYTES = 16 * 2**20
"""The largest body that is read: a document of the 2,000 series that are kept has about 2 MB."""
_MOST_TOLD = 200
"""Characters of a reason that are passed on: it may quote the answer."""


class Unreachable(Exception):
    """An answer that could not be had; the text is one line that says why."""

    def __init__(self, address: str, reason: str, *, is_refused: bool = False) -> None:
        shorter = reason if len(reason) <= _MOST_TOLD else f"{reason[:_MOST_TOLD]}…"
        super().__init__(f"{address}: {shorter}")
        self.reason = shorter
        self.is_refused = is_refused
        """Whether nobody listens there, as against somebody who does not answer."""


def get(url: str) -> bytes:
    """Return the body that `url` answers with.

    Takes at most `SECONDS` and `MOST_BYTES`, follows no redirect and uses no proxy. Raises
    Unreachable, and nothing else.
    """
    try:
        return _exchange(urlsplit(url))
    except TimeoutError:
        raise Unreachable(url, f"no whole answer within {SECONDS:g} s") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        refused = isinstance(error, ConnectionRefusedError)
        reason = str(error) or type(error).__qualname__
        raise Unreachable(url, reason, is_refused=refused) from None


def _exchange(url: SplitResult) -> bytes:
    if not url.hostname:
        raise ValueError("it names no host")
    port = url.port or (443 if url.scheme == "https" else 80)
    with socket.create_connection((url.hostname, port), SECONDS) as plain:
        if url.scheme != "https":
            return _ask(plain, url, port)
        context = ssl.create_default_context()
        with context.wrap_socket(
            plain, server_hostname=url.hostname, do_handshake_on_connect=False
        ) as encrypted:
            return _ask(encrypted, url, port)


def _ask(line: socket.socket, url: SplitResult, port: int) -> bytes:
    is_late = threading.Event()

    def cut() -> None:
        is_late.set()
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads

    # A socket's own timeout bounds the wait for each byte, not that for all of them.
    alarm = threading.Timer(SECONDS, cut)
    alarm.daemon = True
    alarm.start()
    try:
        if isinstance(line, ssl.SSLSocket):
            line.do_handshake()
        connection = http.client.HTTPConnection(url.hostname or "", port)
        connection.sock = line
        connection.request("GET", url.path, headers={"Connection": "close"})
        with closing(connection), connection.getresponse() as response:
            if response.status != http.HTTPStatus.OK:
                raise ValueError(f"it answers {response.status} {response.reason}")
            body = response.read(MOST_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException):
        if is_late.is_set():
            raise TimeoutError from None
        raise
    finally:
        alarm.cancel()
    if is_late.is_set():  # without a length, a body that was cut off looks like a whole one
        raise TimeoutError
    if len(body) > MOST_BYTES:
        raise ValueError(f"its answer is longer than {MOST_BYTES >> 20} MB")
    return body
