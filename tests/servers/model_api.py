"""A provider of models on this machine: it answers what it is told, whole, as events, or cut."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server says: a body, or events of which it may keep the last ones back."""

    body: Any = None
    events: list[Any] = field(default_factory=list)
    status: int = 200
    is_cut: bool = False
    """Whether the connection breaks after the events."""

    def written(self) -> bytes:
        """The events as server-sent ones; a tuple has a name."""
        lines = []
        for event in self.events:
            name, data = event if isinstance(event, tuple) else ("", event)
            text = data if isinstance(data, str) else json.dumps(data)
            lines.append((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
        return "".join(lines).encode()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # many ask at the same time


class ModelApi:
    """The server: `answers` are given one after the other, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, Any]] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def says(self, *answers: Answer) -> None:
        """Answer so from now on."""
        self.answers = list(answers)

    def _next(self) -> Answer:
        with self._lock:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one write for an answer: no waiting for acknowledgements

            def setup(self) -> None:
                super().setup()
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.asked.append((self.path, json.loads(body)))
                answer = api._next()
                is_stream = bool(answer.events)
                sent = answer.written() if is_stream else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                kind = "text/event-stream" if is_stream else "application/json"
                self.send_header("Content-Type", kind)
                self.send_header("retry-after-ms", "1")
                # More is promised than comes where the connection is to break.
                self.send_header("Content-Length", str(len(sent) + 100 * answer.is_cut))
                self.end_headers()
                self.wfile.write(sent)
                self.wfile.flush()
                self.close_connection = answer.is_cut

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler

    @contextmanager
    def serving(self) -> Iterator[ModelApi]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
