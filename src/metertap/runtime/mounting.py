"""The page, the JSON document and Prometheus's text as part of the program's own web server.

There, the program's own authentication protects them. `instrument(json_endpoint=False)` opens no
port beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from metertap import faults
from metertap.runtime import tap
from metertap_exporters.http.app import Response, StartResponse, WsgiApp, json_error, send
from metertap_exporters.http.asgi import AsgiApp, asgi
from metertap_exporters.json.reader import is_prometheus

_PROMETHEUS = "/prometheus"


def wsgi_app() -> WsgiApp:
    """Return a WSGI application that serves the page, the JSON document and Prometheus's text.

    The page is at `/`, JSON at `/metrics`, and Prometheus's text at `/prometheus`, and at
    `/metrics` for a Prometheus that asks. It does not authenticate: put it behind what the program
    itself checks. Make it once, where the program is set up; any thread may call it.
    """
    return _Mounted()


def asgi_app() -> AsgiApp:
    """Return the same application for ASGI: `app.mount("/metertap", metertap.asgi_app())`."""
    return asgi(_Mounted())


class _Mounted:
    """A mounted application, which looks up the views in force at each request."""

    def __init__(self) -> None:
        with faults.guarded("mounting"):
            installation = tap.installation()
            if installation is not None:
                installation.pipeline.mounted()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        with faults.guarded("mounting"):
            answer = json_error(500, "the answer could not be made; the program's log says why")
            found = self._answer_to(environ)
            if not isinstance(found, Response):
                return found(environ, start_response)
            answer = found
        with faults.guarded("mounting"):
            return send(answer, environ, start_response)
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return []

    def _answer_to(self, environ: dict[str, Any]) -> Response | WsgiApp:
        """Return an answer, or the application that gives one."""
        path = environ.get("PATH_INFO", "")
        installation = tap.installation()
        if not path:  # without the slash, what the page loads would be looked for beside it
            return _to_slash(environ)
        if installation is None or not installation.is_active:
            return json_error(503, "nothing is measured: metertap.instrument() was not called")
        shown = installation.pipeline.mounted()
        shown.join()
        if path == _PROMETHEUS or (path == "/metrics" and is_prometheus(environ)):
            environ["PATH_INFO"] = "/metrics"
            return shown.prometheus.app
        return shown.json.app


def _to_slash(environ: Mapping[str, Any]) -> Response:
    # Only a path, whatever the client wrote: with two slashes it would be another host's address.
    name = quote(str(environ.get("SCRIPT_NAME", "")), encoding="latin-1", errors="replace")
    address = "/" + f"{name}/".lstrip("/")
    return Response(307, "text/plain", b"", (("Location", address),))
