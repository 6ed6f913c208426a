"""OTLP collectors that keep what they get, over HTTP and gRPC, and one that never answers."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    DESCRIPTOR,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric


class Receiver:
    """`requests` are what has arrived so far, decoded."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.requests: list[ExportMetricsServiceRequest] = []
        self.answer = ExportMetricsServiceResponse()
        """The answer to each request."""
        self.packs = False
        """Whether answers over HTTP are compressed."""

    def metrics(self, name: str) -> list[Metric]:
        """Every metric of that name, of every request."""
        return [
            metric
            for request in self.requests
            for resource_metrics in request.resource_metrics
            for scope_metrics in resource_metrics.scope_metrics
            for metric in scope_metrics.metrics
            if metric.name == name
        ]

    def service_names(self) -> set[str]:
        return {
            attribute.value.string_value
            for request in self.requests
            for resource_metrics in request.resource_metrics
            for attribute in resource_metrics.resource.attributes
            if attribute.key == "service.name"
        }

    def calls_by_process(self) -> dict[int, int]:
        """Process id → calls of tools, by the last cumulative histograms of each process."""
        found: dict[int, int] = {}
        for request in list(self.requests):
            for sent in request.resource_metrics:
                (pid,) = (
                    pair.value.int_value
                    for pair in sent.resource.attributes
                    if pair.key == "process.pid"
                )
                for scope in sent.scope_metrics:
                    for metric in scope.metrics:
                        if metric.name == "gen_ai.execute_tool.duration":
                            found[pid] = sum(point.count for point in metric.histogram.data_points)
        return found

    def tool_calls(self) -> dict[tuple[str, str], int]:
        """(tool, outcome) → calls, by the last cumulative histogram of each."""
        found = {}
        for metric in self.metrics("gen_ai.execute_tool.duration"):
            for point in metric.histogram.data_points:
                labels = {pair.key: pair.value.string_value for pair in point.attributes}
                found[labels["gen_ai.tool.name"], labels["metertap.outcome"]] = point.count
        return found


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A collector on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as by real collectors

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.requests.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            answer = found.answer.SerializeToString()
            if found.packs:
                answer = gzip.compress(answer)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(server.server_port)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


@contextmanager
def grpc_receiver() -> Iterator[Receiver]:
    """One that speaks gRPC."""

    def export(request: ExportMetricsServiceRequest, _context: object) -> Any:
        found.requests.append(request)
        return found.answer

    method = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=ExportMetricsServiceRequest.FromString,
        response_serializer=ExportMetricsServiceResponse.SerializeToString,
    )
    service = DESCRIPTOR.services_by_name["MetricsService"].full_name
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {"Export": method})]
    )
    found = Receiver(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    try:
        yield found
    finally:
        server.stop(None).wait()


@contextmanager
def hanging_collector() -> Iterator[str]:
    """The endpoint of one that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def unreachable_endpoint() -> str:
    """One where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"
