"""A collector over gRPC that ends each connection: stderr stays the program's, and it can fork."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

from metertap.settings.settings import Settings
from metertap_exporters.otlp import otlp_reader
from servers.otlp_receiver import grpc_receiver
from support.programs import Ended, run

pytestmark = [pytest.mark.sdk, pytest.mark.programs]
pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
SETTINGS, GOAWAY, ENHANCE_YOUR_CALM = 4, 7, 11
REASON = b"evil\n\x1b[31mmetertap: all is well\n"
PROGRAM = """
import os, sys
{before}
import metertap
tap = metertap.instrument(announce=False, json_endpoint=False)
for _ in range(3):
    metertap.record_tool_call("search", True, 1.0)
    tap.flush(2000)
print(os.environ.get("GRPC_VERBOSITY"))
"""
ONE_LINE = (
    b"metertap: OTLP: metrics could not be delivered by grpc "
    b"(is OTEL_EXPORTER_OTLP_ENDPOINT right?); told once until they can be\n"
)


def frame(kind: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 on the connection's own stream."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, 0, 0) + payload


@contextmanager
def going_away() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            end = frame(GOAWAY, struct.pack(">II", 0, ENHANCE_YOUR_CALM) + REASON)
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with line, suppress(OSError):
                        line.sendall(frame(SETTINGS, b""))
                        line.recv(65_536)
                        for _ in range(20):
                            line.sendall(end)
                        time.sleep(0.2)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


FORKING = """
import os, time
import metertap
tap = metertap.instrument(announce=False, json_endpoint=False)
metertap.record_tool_call("search", True, 1.0)
time.sleep(1.5)  # an export is in progress
longest = 0.0
for _ in range(3):
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os._exit(0)
    longest = max(longest, time.monotonic() - began)
    os.waitpid(child, 0)
print(longest < 8.0)
"""


def ended(
    before: str = "", verbosity: str | None = None, program: str = PROGRAM, interval: str = "600000"
) -> Ended:
    with going_away() as endpoint:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_METRIC_EXPORT_INTERVAL": interval,
            "METERTAP_DISABLED_INSTRUMENTATIONS": "*",
            "GRPC_VERBOSITY": verbosity,
        }
        quiet = "ignore:This process:DeprecationWarning"  # who forks with threads is warned
        return run(sys.executable, "-W", quiet, "-c", program.format(before=before), env=env)


def test_what_a_collector_says_at_its_end_is_not_on_stderr() -> None:
    done = ended()
    assert (done.status, done.stdout, done.stderr) == (0, b"None\n", ONE_LINE)


@pytest.mark.parametrize(
    ("before", "verbosity"), [("", "INFO"), ("import grpc; grpc.insecure_channel('a')", None)]
)
def test_who_has_grpc_already_or_has_set_its_verbosity_keeps_it(
    before: str, verbosity: str | None
) -> None:
    done = ended(before, verbosity)
    assert (done.status, done.stdout) == (0, f"{verbosity}\n".encode())
    assert b"goaway" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has none")
def test_a_program_forks_while_a_collector_ends_each_connection() -> None:
    done = ended(program=FORKING, interval="500")
    assert (done.status, done.stdout) == (0, b"True\n"), done.told


def test_an_export_that_was_given_up_at_a_fork_is_followed_by_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with grpc_receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        reader = otlp_reader(Settings(otlp_protocol="grpc", export_interval_seconds=600.0))
        delivery, pause = reader.delivery, reader.delivery.pause
        assert pause is not None
        with pause.exporting:  # an export that takes long
            pause.begin()
        pause.end()
        nothing = MetricsData(resource_metrics=[])
        assert delivery.export(nothing) is MetricExportResult.SUCCESS
        pause.begin()
        assert pause.exporting.locked()
        pause.end()
        assert delivery.export(nothing) is MetricExportResult.SUCCESS
        assert len(collector.requests) == 2
        reader.shutdown(0)
