"""Collectors over HTTP that answer what none should."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from metertap.settings.settings import Settings
from metertap.unmocked import unmocked
from metertap_exporters.otlp import otlp_reader
from metertap_exporters.otlp_delivery import Delivery
from support.warned import warnings_of

pytestmark = pytest.mark.sdk

NOTHING = MetricsData(resource_metrics=[])
SUCCESS, FAILURE = MetricExportResult.SUCCESS, MetricExportResult.FAILURE
MEGABYTE = 2**20
Answer = Callable[[socket.socket], None]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Run a collector that gives `answer` to each request, and yield its endpoint."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with line, suppress(OSError):
                        while line.recv(65_536):
                            answer(line)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def exported(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, times: int = 1, timeout: float = 30
) -> list[MetricExportResult]:
    """Export nothing to it, as a reader would."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(timeout))
    reader = otlp_reader(Settings(otlp_protocol="http/protobuf", export_interval_seconds=600.0))
    try:
        return [reader.delivery.export(NOTHING) for _ in range(times)]
    finally:
        reader.delivery.discard()
        reader.shutdown(0)


def endless(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n")
    for _ in range(256):
        line.sendall(bytes(MEGABYTE))


BOMB = gzip.compress(bytes(256 * MEGABYTE), 1)


def bomb(line: socket.socket) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n\r\n"
    line.sendall(head.encode() + BOMB)


@pytest.mark.parametrize("answer", [endless, bomb])
def test_an_answer_of_any_length_takes_no_memory(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(answer) as endpoint:
        tracemalloc.start()
        try:
            assert exported(endpoint, monkeypatch) == [SUCCESS]
            assert tracemalloc.get_traced_memory()[1] < 32 * MEGABYTE
        finally:
            tracemalloc.stop()


def test_a_redirect_is_not_followed_and_no_success(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def redirect(line: socket.socket) -> None:
        asked.append(line)
        line.sendall(b"HTTP/1.1 307 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")

    with answering(redirect) as endpoint:
        assert exported(endpoint, monkeypatch) == [FAILURE]
    assert len(asked) == 1
    (warning,) = warnings_of(caplog)
    assert "could not be delivered" in warning


def test_a_connection_serves_more_than_one_export(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = set()

    def accept(line: socket.socket) -> None:
        lines.add(line)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\n\0")

    with answering(accept) as endpoint:
        assert exported(endpoint, monkeypatch, times=3) == [SUCCESS] * 3
    assert len(lines) == 1


def drip(line: socket.socket, text: bytes) -> None:
    for byte in text:
        line.sendall(bytes([byte]))
        time.sleep(0.05)


def drips_its_status(line: socket.socket) -> None:
    drip(line, b"HTTP/1.1 200 " + b"a" * 400)


def drips_its_headers(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    drip(line, b"a" * 400)


def drips_its_body(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
    drip(line, b"a" * 400)


@pytest.mark.parametrize(
    ("answer", "result"),
    # The status decides about the request, whatever follows it.
    [(drips_its_status, FAILURE), (drips_its_headers, SUCCESS), (drips_its_body, SUCCESS)],
)
def test_an_exchange_ends_in_the_time_of_an_export_whatever_arrives(
    answer: Answer, result: MetricExportResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    with answering(answer) as endpoint:
        assert exported(endpoint, monkeypatch, timeout=0.5) == [result]
    assert time.monotonic() - began < 10


def test_an_answer_that_is_announced_without_end_is_not_read_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = []

    def announce(line: socket.socket) -> None:
        for _ in range(4_000):
            line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)
            sent.append(line)

    with answering(announce) as endpoint:
        assert exported(endpoint, monkeypatch, timeout=2) == [FAILURE]
    assert len(sent) < 2_000


class Slow(MetricExporter):
    """An exporter whose collector answers one byte at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def export(self, *_args: object, **_kwargs: object) -> MetricExportResult:
        self.entered.set()
        self.released.wait(60)
        return SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_kwargs: object) -> None:
        """Nothing is open."""


def test_an_export_that_never_ends_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = Slow()
    delivery = Delivery(exporter, "http/protobuf")
    thread = threading.Thread(target=delivery.export, args=(NOTHING,))
    thread.start()
    exporter.entered.wait(60)
    assert delivery.problem is None
    now = time.monotonic()
    with monkeypatch.context() as later:
        later.setattr(unmocked, "monotonic", lambda: now + 61)
        assert str(delivery.problem).startswith("an export by http/protobuf has taken 6")
    exporter.released.set()
    thread.join(60)
    assert delivery.problem is None
