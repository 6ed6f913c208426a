"""The HTTP session of an OTLP exporter, which takes from an answer what an exporter needs."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import requests

_PROVIDERS = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_METRICS_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
)
"""Variables by which an operator names a session of another kind."""
_MOST_BYTES = 64 * 1024
"""The longest body that is read: of a longer one the connection is closed instead."""


class Session(requests.Session):
    """A session that follows no redirect, and keeps no body.

    By itself it would unpack any answer into memory, whatever its length. A redirect is an error
    here, since nothing was delivered; exporters take each status below 400 for a success.
    """

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, and return the answer without a body. Raises RequestException."""
        options |= {"stream": True, "allow_redirects": False}
        response = super().send(request, **options)
        with suppress(Exception):  # the status was read, which says what became of the request
            # A connection whose answer was read to its end serves the next request, too.
            response.raw.read(_MOST_BYTES, decode_content=False)
        response._content = b""
        response.close()
        if 300 <= response.status_code < 400:
            raise requests.RequestException("redirects are not followed")
        return response


def new_session() -> Session | None:
    """Return a session for an exporter; None where the operator names one."""
    return None if any(map(os.environ.get, _PROVIDERS)) else Session()
