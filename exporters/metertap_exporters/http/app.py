"""What an HTTP endpoint answers: routes to small answers, and every error as JSON.

GET and HEAD only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from metertap import faults

Environ = Mapping[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; `reason` replaces the standard phrase of the status line."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None


Route = Callable[[Environ], Response]


def json_response(
    status: int, document: object, reason: str | None = None, **headers: str
) -> Response:
    """`document` as JSON; NaN and infinity are errors, not text that no parser reads."""
    body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    return Response(status, "application/json", body, tuple(headers.items()), reason)


def json_error(status: int, message: str, reason: str | None = None, **headers: str) -> Response:
    """An error as JSON: `{"error": {"status": …, "message": …}}`."""
    error = {"error": {"status": status, "message": message}}
    return json_response(status, error, reason, **headers)


class App:
    """WSGI application of some routes: GET and HEAD, every error as JSON.

    Routes whose path is among the `parts` are parts of another: a 404 does not name them.
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
        return route(environ)


def send(response: Response, environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer a WSGI request; to HEAD without the body."""
    reason = response.reason or HTTPStatus(response.status).phrase
    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
        ("X-Content-Type-Options", "nosniff"),
        *response.headers,
    ]
    if not any(name == "Cache-Control" for name, _ in headers):
        headers.append(("Cache-Control", "no-store"))
    start_response(f"{response.status} {reason}", headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]
