"""The page's files over HTTP, under a policy that lets them load nothing from elsewhere.

The page reads `/metrics` as any client; the process keeps nothing for it. plotly.js draws the
charts, from the installed package `plotly` (extra `dashboard`), which is never imported.
"""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from weakref import WeakValueDictionary

from metertap import locks
from metertap.install_command import install_command
from metertap_exporters.http.app import Environ, Response, Route, json_error, json_response
from metertap_exporters.page.kept import costs_route, history_route

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_PAGE_HEADERS = (("Content-Security-Policy", CONTENT_SECURITY_POLICY),)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
FILES = (
    "index.html",
    "page.css",
    "charts.css",
    "theme.js",
    "page.js",
    "alerts.js",
    "answers.js",
    "charts.js",
    "costs.js",
    "detail.js",
    "figures.js",
    "history.html",
    "history.js",
    "lines.js",
    "past.js",
    "table.js",
)
LIBRARY_PATH = "/charts-library.js"
EXTRA = "dashboard"


def routes(
    history: Path | None = None, service: Callable[[], str | None] = lambda: None
) -> dict[str, Route]:
    """List the routes of the page's files by path; `/` is the page itself.

    `/history` shows the contents of the file `history`, and what `service` spent on models.
    """
    served: dict[str, Route] = {f"/{name.removesuffix('.html')}": _file(name) for name in FILES[1:]}
    served["/"] = _file(FILES[0])
    served["/history.json"] = history_route(history)
    served["/costs.json"] = costs_route(history, service)
    served["/page.json"] = lambda _environ: _facts(history)
    served[LIBRARY_PATH] = _SharedLibrary()
    return served


def chart_library() -> Path | None:
    """Return plotly.js of the installed package, without importing anything; None without it."""
    try:
        spec = importlib.util.find_spec("plotly")
    except (ImportError, ValueError):  # a module of that name is not what it seems
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder, "package_data", "plotly.min.js")
        if path.is_file():
            return path
    return None


def _file(name: str) -> Route:
    def read() -> bytes:
        return resources.files(__package__).joinpath(name).read_bytes()

    return _kept(read, _TYPES[Path(name).suffix])


def _kept(read: Callable[[], bytes], content_type: str) -> Route:
    """Return a route whose answer browsers keep, and revalidate at each use."""

    def route(environ: Environ) -> Response:
        body = read()
        tag = f'"{len(body)}-{zlib.crc32(body):08x}"'
        headers = (*_PAGE_HEADERS, ("Cache-Control", "no-cache"), ("ETag", tag))
        if environ.get("HTTP_IF_NONE_MATCH") == tag:
            return Response(304, content_type, b"", headers)
        return Response(200, content_type, body, headers)

    return route


def _facts(history: Path | None) -> Response:
    """Return what the page must know: whether there is a history, and whether there is the charts'
    library, or how to install it."""
    library = chart_library()
    facts: Mapping[str, str | bool | None] = {
        "has_history": history is not None,
        "chart_library": None if library is None else f"{LIBRARY_PATH[1:]}?{_version(library)}",
        "install": install_command(EXTRA),
    }
    return json_response(200, facts)


def _version(library: Path) -> str:
    """Return a file's version by size and time, for an address that may be cached for ever."""
    facts = library.stat()
    return f"{facts.st_size:x}-{facts.st_mtime_ns:x}"


class _SharedLibrary:
    """The route of the charts' library: megabytes that are shared by all who read them."""

    def __init__(self) -> None:
        self._reading = locks.lock()
        self._answers: WeakValueDictionary[str, Response] = WeakValueDictionary()

    def __call__(self, environ: Environ) -> Response:
        library = chart_library()
        if library is None:
            return json_error(
                404, f"the charts' library is not installed: {install_command(EXTRA)}"
            )
        version = _version(library)
        is_exact = environ.get("QUERY_STRING") == version
        kept = "private, max-age=31536000, immutable" if is_exact else "no-store"
        with self._reading:
            answer = self._answers.get(version + kept)
            if answer is None:
                answer = Response(
                    200, _TYPES[".js"], library.read_bytes(), (("Cache-Control", kept),)
                )
                self._answers[version + kept] = answer
        return answer
