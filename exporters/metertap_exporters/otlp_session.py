"""The HTTP session of an OTLP exporter, which also reads what a collector answers."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import requests
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url

from metertap_exporters.otlp_connection import Adapter

_PROVIDERS = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_METRICS_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
)
"""Variables by which an operator chooses another kind of session."""
_MOST_BYTES = 64 * 1024
"""The longest body that is read; with a longer one, the connection is closed."""
_LONGEST_SECONDS = 15.0
"""The longest, in seconds, for an exchange for which the exporter sets no timeout."""

_USUAL_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "connection", "user-agent"),
        *("content-encoding", "content-length", "content-type"),
    }
)
"""The headers of a request for which the operator has set none."""
_PROTOBUF = "application/x-protobuf"
_GZIP = 16 + zlib.MAX_WBITS


def _credentials_in_its_address(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send the credentials in the endpoint's address, and never a password of `~/.netrc`.

    requests takes one from there if a request has no authorisation of its own, even in place of a
    header.
    """
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


class Session(requests.Session):
    """A session that follows no redirect, and keeps no body.

    `sends` is called before each request, and a collector's message in the answer is passed to
    `heard`. Whatever is sent, no exchange takes longer than the exporter's timeout.

    The base class would unpack any answer into memory, whatever its length. A redirect is an error
    here, since nothing was delivered: exporters take each status below 400 for success.
    """

    sends: Callable[[], None] | None = None
    heard: Callable[[ExportMetricsServiceResponse], None] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.auth = _credentials_in_its_address
        self._adapter = Adapter()
        for scheme in ("http://", "https://"):
            self.mount(scheme, self._adapter)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, and return the answer without a body. Raises RequestException."""
        if self.sends is not None:
            self.sends()
        options |= {"stream": True, "allow_redirects": False}
        timeout = options.get("timeout")
        seconds = timeout if isinstance(timeout, int | float) else _LONGEST_SECONDS
        self._adapter.is_secret = not _USUAL_HEADERS.issuperset(map(str.lower, request.headers))
        with self._adapter.limited(seconds):
            response = super().send(request, **options)
            with suppress(Exception):  # the status was read, which decides about the request
                # A connection whose answer was read to its end can be used again.
                body = response.raw.read(_MOST_BYTES, decode_content=False)
                self._hear(body, response)
            response._content = b""
            response.close()
        if 300 <= response.status_code < 400:
            raise requests.RequestException("redirects are not followed")
        return response

    def _hear(self, body: bytes, response: requests.Response) -> None:
        """Pass a body on, unless it is too long, also once unpacked. Raises for a malformed one."""
        is_ours = response.headers.get("Content-Type", "").startswith(_PROTOBUF)
        if self.heard is None or not is_ours or response.status_code != requests.codes.ok:
            return
        if response.headers.get("Content-Encoding") == "gzip":
            body = zlib.decompressobj(_GZIP).decompress(body, _MOST_BYTES)
        self.heard(ExportMetricsServiceResponse.FromString(body))


def new_session() -> Session | None:
    """Return a session for an exporter; None if the operator chooses one."""
    return None if any(map(os.environ.get, _PROVIDERS)) else Session()
