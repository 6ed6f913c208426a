"""What a collector over HTTP knows the sender by: what the operator named, and no more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from metertap.settings.settings import Settings
from metertap_exporters.otlp import otlp_reader

pytestmark = pytest.mark.sdk

seen: list[str | None] = []
hosts: list[str | None] = []


class Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        seen.append(self.headers.get("Authorization"))
        hosts.append(self.headers.get("Host"))
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
    hosts.clear()
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


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no ::1")
@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("header", ["", "api-key=SECRET"])
def test_localhost_is_asked_at_127_0_0_1_and_nobody_else_hears_a_secret(
    header: str, is_there: bool, collector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are looked up so where `/etc/hosts` has `::1 localhost`."""
    look_up = socket.getaddrinfo

    def first_ipv6(host: Any, *rest: Any, **more: Any) -> Any:
        found = look_up(host, *rest, **more)
        return [*look_up("::1", *rest, **more), *found] if host == "localhost" else found

    place = ("::1", int(collector.rpartition(":")[2]) if is_there else 0)
    try:
        stranger = socket.create_server(place, family=socket.AF_INET6)
    except OSError:
        pytest.skip("::1 cannot be listened at")
    with stranger:
        stranger.settimeout(0.2)
        port = stranger.getsockname()[1]
        monkeypatch.setattr(socket, "getaddrinfo", first_ipv6)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://localhost:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", header)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        reader = otlp_reader(Settings(otlp_protocol="http/protobuf", export_interval_seconds=600.0))
        reader.delivery.export(MetricsData(resource_metrics=[]))
        reader.delivery.discard()
        reader.shutdown(0)
        if is_there or header:
            with pytest.raises(TimeoutError):
                stranger.accept()
        else:
            stranger.accept()[0].close()
    assert len(seen) == is_there
    assert hosts == [f"localhost:{port}"] * is_there
