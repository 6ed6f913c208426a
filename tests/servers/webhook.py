"""A real HTTP server that receives alerts, and answers as a test wants it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """The requests in the order in which they came: path, headers, and the body as JSON."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hangs = threading.Event()
        """When set, requests are read and never answered."""
        self.waits = threading.Event()
        """When set, requests are answered only once `goes_on` is set."""
        self.drips = threading.Event()
        """When set, it says again and again that it is about to answer."""
        self.goes_on = threading.Event()

    @property
    def bodies(self) -> list[Any]:
        return [body for _path, _headers, body in self.requests]

    def told(self) -> list[tuple[str, str]]:
        """List the status and name of every alert that came, of payloads of version 4."""
        return [
            (alert["status"], alert["labels"]["alertname"])
            for body in self.bodies
            for alert in body["alerts"]
        ]


@contextmanager
def webhook(port: int = 0) -> Iterator[Webhook]:
    """Run the server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.requests.append((self.path, dict(self.headers), json.loads(body)))
            if hook.hangs.is_set():
                hook.goes_on.wait(120)
                return
            if hook.waits.is_set():
                hook.goes_on.wait(120)
            while hook.drips.is_set() and not hook.goes_on.wait(0.05):
                self.send_response_only(100)
                self.end_headers()
            self.send_response(hook.status)
            for name, value in hook.headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that went away
    hook = Webhook(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.goes_on.set()
        server.shutdown()
        server.server_close()
