"""What a collector over HTTP knows the sender by: what the operator named, and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from metertap.settings.settings import Settings
from metertap_exporters.otlp import otlp_reader

pytestmark = pytest.mark.sdk

seen: list[str | None] = []


class Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        seen.append(self.headers.get("Authorization"))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a collector, for a user who keeps a password for it in a file."""
    passwords = tmp_path / "netrc"
    passwords.write_text("default login me password SECRET\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("NETRC", str(passwords))
    seen.clear()
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("user", "header", "sent"),
    [
        ("", "", None),
        ("", "authorization=Bearer%20token", "Bearer token"),
        ("ann:word@", "", "Basic YW5uOndvcmQ="),
    ],
)
def test_a_password_of_the_users_files_is_not_sent(
    user: str, header: str, sent: str | None, collector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{user}{collector}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", header)
    reader = otlp_reader(Settings(otlp_protocol="http/protobuf", export_interval_seconds=600.0))
    reader.delivery.export(MetricsData(resource_metrics=[]))
    reader.delivery.discard()
    reader.shutdown(0)
    assert seen == [sent]
