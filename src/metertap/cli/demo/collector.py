"""A small OTLP/HTTP collector for the demo: it adds up the tool calls that arrive.

Needs opentelemetry-proto, which the OTLP exporter brings.
"""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from metertap import catalogue


class Collector:
    """Collector that receives on a free port of 127.0.0.1 from `start` to `stop`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Points are cumulative: the last one of a series has its whole count.
        self._latest: dict[tuple[str, str, str], int] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        """The value for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def outcomes(self) -> dict[str, Counter[str]]:
        """Return the numbers of calls by tool and outcome that arrived over OTLP."""
        found: dict[str, Counter[str]] = {}
        with self._lock:
            for (tool, ended, _), count in self._latest.items():
                found.setdefault(tool, Counter())[ended] += count
        return found

    def _received(self, body: bytes) -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
            ExportMetricsServiceRequest,
        )

        request = ExportMetricsServiceRequest.FromString(body)
        with self._lock:
            for resource_metrics in request.resource_metrics:
                for scope_metrics in resource_metrics.scope_metrics:
                    for metric in scope_metrics.metrics:
                        if metric.name == catalogue.TOOL_DURATION.name:
                            self._count(metric.histogram.data_points)

    def _count(self, points: Any) -> None:
        for point in points:
            labels = {pair.key: pair.value.string_value for pair in point.attributes}
            key = (
                labels[catalogue.TOOL_NAME],
                labels[catalogue.OUTCOME],
                labels.get(catalogue.ERROR_TYPE, ""),
            )
            self._latest[key] = point.count

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        received = self._received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                received(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Discard the line: the terminal shows the demo."""

        return Handler
