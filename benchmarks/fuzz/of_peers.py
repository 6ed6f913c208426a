"""Readers of what MCP servers, and clients of the endpoints, say."""

from __future__ import annotations

import json
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import metertap
from benchmarks.fuzz.changes import Target, changed_bytes, dumped
from benchmarks.fuzz.of_histories import tally_of
from metertap.cli.weight import http, session
from metertap.cli.weight.session import Unusable as NoServer
from metertap.history.answers import Subject
from metertap.history.store import Run, Store
from metertap.settings import settings


@contextmanager
def listings_of_servers() -> Iterator[Target]:
    """Weigh what an MCP server says of its tools."""
    result = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}, "prompts": {}},
        "serverInfo": {"name": "n", "version": "1"},
        "nextCursor": None,
        "prompts": [{}],
        "tools": [{"name": "a", "description": "d", "inputSchema": {"type": "object"}}],
    }

    class Told:
        def __init__(self, by: random.Random) -> None:
            self._by, self._number, self._count = by, 0, 0

        def send(self, message: dict[str, Any]) -> None:
            json.dumps(message)
            self._number = message.get("id", self._number) if "method" in message else self._number

        def agree(self, version: str) -> None:
            pass

        def receive(self) -> str:
            self._count += 1
            if self._count > 20:
                raise NoServer("it says too much")
            message = {"jsonrpc": "2.0", "id": self._number, "result": result}
            text = json.dumps(message) if self._by.random() < 0.5 else dumped(message, self._by)
            stream = bytearray(text if isinstance(text, bytes) else text.encode())
            with suppress(ValueError):
                list(http._whole_events(bytearray(b"data: " + stream + b"\n\n")))
            return stream.decode(errors="replace")

    yield Target((NoServer,), lambda by: session.listing(Told(by)) and None)


@contextmanager
def requests_of_clients() -> Iterator[Target]:
    """Answer requests to both endpoints: none of them is an error of the server's."""
    from metertap_exporters.json.reader import JsonSnapshot
    from metertap_exporters.prometheus import PrometheusExporter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        store = Store(path, 2**20)
        store.write(Run("shop", "1.0", "i"), [(60, {Subject("tool", "search", "l"): tally_of()})])
        store.close()
        with mock.patch.dict("os.environ", METERTAP_HISTORY=str(path)):
            metertap.record_tool_call("search", True, 5.0)
            in_force = settings.read()
        apps = [JsonSnapshot(in_force).app, PrometheusExporter(in_force).app]
        words = (
            "worker",
            "each",
            "=",
            "&",
            "since",
            "until",
            "by",
            "version",
            "name[]",
            "%",
            "1e9",
        )
        words += (
            "nan",
            "inf",
            "-1",
            "\x00",
            "\xff",
            "/",
            ";",
            "+",
            "gzip",
            "*/*",
            "q=",
            ",",
            "text",
        )
        paths = ("/metrics", "/history.json", "/targets", "/", "/page.json", "/history", "/doctor")

        def give(by: random.Random) -> None:
            def text() -> str:
                return "".join(by.choices(words, k=by.randrange(9)))

            environ = {
                "REQUEST_METHOD": by.choice(("GET", "HEAD", "POST", text())),
                "PATH_INFO": by.choice((*paths, text())),
                "QUERY_STRING": text(),
                "HTTP_ACCEPT": text(),
                "HTTP_ACCEPT_ENCODING": text(),
                "HTTP_HOST": text(),
            }
            if environ["PATH_INFO"] == "/doctor" and by.random() < 0.99:
                return
            statuses: list[str] = []
            list(by.choice(apps)(environ, lambda status, _headers: statuses.append(status)))
            assert not statuses[0].startswith("500"), environ

        yield Target((), give)


@contextmanager
def bytes_of_clients() -> Iterator[Target]:
    """Read requests from a connection: each has one whole answer or none."""
    from metertap_exporters.http.app import App, json_response
    from metertap_exporters.http.hosts import HostCheck
    from metertap_exporters.http.server import Server, _Handler

    asked = (
        b"GET /metrics?a=1 HTTP/1.1\r\nHost: localhost:9109\r\nAccept: */*\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 5\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
    )
    server = Server(("127.0.0.1", 0))
    app = App({"/metrics": lambda _environ: json_response(200, {"figures": 1})})
    server.set_app(HostCheck(app, "127.0.0.1", frozenset()))

    def give(by: random.Random) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(changed_bytes(by.choice(asked), by))
            theirs.shutdown(socket.SHUT_WR)
            server.connections.admit(ours)
            _Handler(ours, ("127.0.0.1", 1), server)
            server.connections.closed(ours)
            ours.shutdown(socket.SHUT_RDWR)
            found = b""
            while part := theirs.recv(65536):
                found += part
        status = found.partition(b"\r\n")[0]
        assert not found or status.startswith(b"HTTP/1."), found
        assert found.count(b"\r\nServer: ") == bool(found), found
        assert b" 500 " not in status, found

    with closing(server.socket):
        yield Target((), give)
