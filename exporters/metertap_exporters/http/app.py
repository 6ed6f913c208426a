"""The WSGI application of an endpoint: routes to small answers, and every error as JSON.

GET and HEAD only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from metertap import faults
from metertap.text import printable

Environ = Mapping[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


SECURITY_HEADERS = {
    "Content-Security-Policy": "; ".join(
        ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer: other origins may not show or load it, and it may load nothing."""


_LONGEST_QUERY = 8 * 1024
"""The most characters of a query, also where another server has read the request."""


class Response:
    """One answer; `reason` replaces the standard phrase of the status line."""

    __slots__ = ("__weakref__", "body", "content_type", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        content_type: str,
        body: bytes,
        headers: tuple[tuple[str, str], ...] = (),
        reason: str | None = None,
    ) -> None:
        self.status = status
        self.content_type = content_type
        self.body = body
        self.headers = headers
        self.reason = reason


Route = Callable[[Environ], Response]


def json_response(
    status: int, document: object, reason: str | None = None, **headers: str
) -> Response:
    """Return an answer with `document` as JSON; NaN and infinity raise, as parsers refuse them."""
    body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    return Response(status, "application/json", body, tuple(headers.items()), reason)


def json_error(status: int, message: str, reason: str | None = None, **headers: str) -> Response:
    """Return an error as JSON: `{"error": {"status": …, "message": …}}`."""
    error = {"error": {"status": status, "message": message}}
    return json_response(status, error, reason, **headers)


class App:
    """A WSGI application of some routes: GET and HEAD, every error as JSON.

    A 404 lists all paths except `parts`, such as the files of a page.
    """

    def __init__(self, routes: Mapping[str, Route], parts: Collection[str] = ()) -> None:
        self._routes = routes
        self._named = ", ".join(sorted(set(routes) - set(parts)))

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        try:
            response = self._answer(path, environ)
        except Exception as error:
            faults.fault(f"endpoint {path}", error)
            response = json_error(500, "the answer could not be made; the program's log says why")
        return send(response, environ, start_response)

    def _answer(self, path: str, environ: Environ) -> Response:
        route = self._routes.get(path)
        if route is None:
            return json_error(404, f"nothing is here; there is {self._named}")
        if environ.get("REQUEST_METHOD") not in {"GET", "HEAD"}:
            return json_error(405, "only GET and HEAD are answered", Allow="GET, HEAD")
        if len(environ.get("QUERY_STRING", "")) > _LONGEST_QUERY:
            return json_error(414, f"a query has at most {_LONGEST_QUERY} characters")
        return route(environ)


class _Sent:
    """The body of an answer, which keeps the answer alive while it is written, for sharing."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield self._response.body


def send(response: Response, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a WSGI request; to HEAD without the body."""
    # ASCII on one line, whatever the reason quotes: a line end would begin a header.
    reason = printable(response.reason or HTTPStatus(response.status).phrase)
    reason = reason.encode("ascii", "backslashreplace").decode()
    body: Iterable[bytes] = [] if environ.get("REQUEST_METHOD") == "HEAD" else _Sent(response)
    start_response(f"{response.status} {reason}", headers_of(response))  # last: it is called once
    return body


def headers_of(response: Response) -> list[tuple[str, str]]:
    """List the headers of an answer; its own ones replace those that all answers have."""
    own = {name for name, _ in response.headers}
    of_all = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Cache-Control": "no-store",
        **SECURITY_HEADERS,
    }
    return [*(item for item in of_all.items() if item[0] not in own), *response.headers]
