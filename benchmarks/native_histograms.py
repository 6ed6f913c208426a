"""Exponential histograms of OTLP, written to a Prometheus as native histograms.

What the OpenTelemetry Collector's exporter for Prometheus's remote write does with cumulative
exponential histograms, by the mapping that OpenTelemetry specifies: a collector in Go that does it
is in no registry that the benchmarks install from. `Bridge` receives OTLP over HTTP.
"""

from __future__ import annotations

import gzip
import struct
import threading
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

MOST_SCHEMA = 8
"""The finest schema of Prometheus; finer scales would have to be merged first."""


def written(url: str, series: Iterable[tuple[Mapping[str, str], bytes]]) -> None:
    """Send time series, each its labels and encoded samples, to a Prometheus."""
    body = b"".join(_field(1, _labels(labels) + samples) for labels, samples in series)
    request = urllib.request.Request(
        f"{url}/api/v1/write",
        _snappy(body),
        {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
    )
    urllib.request.urlopen(request, timeout=30).close()


def histogram(
    count: int, total: float, scale: int, offset: int, counts: Sequence[int], milliseconds: int
) -> bytes:
    """Encode a sample that is a native histogram, of an exponential one's positive buckets.

    Bucket 0 of OTLP ends where bucket 1 of Prometheus does. Prometheus holds the difference of each
    count to the one before, and leaves out what is between two spans of buckets.
    """
    assert scale <= MOST_SCHEMA
    spans, deltas, end, before = b"", b"", 0, 0
    for length, start in _spans(counts):
        first = offset + 1 + start
        spans += _field(11, _number(1, _zigzag(first - end)) + _number(2, length))
        end = first + length
        for now in counts[start : start + length]:
            deltas += _varint(_zigzag(now - before))
            before = now
    parts = _number(1, count) + _double(3, total) + _number(4, _zigzag(scale)) + _double(5, 0.0)
    parts += _number(6, 0) + spans + (_field(12, deltas) if deltas else b"")
    return _field(4, parts + _number(15, milliseconds))


def _spans(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield length and start of each run of buckets that are not empty."""
    for is_used, run in groupby(enumerate(counts), key=lambda item: item[1] > 0):
        if is_used:
            places = [place for place, _ in run]
            yield len(places), places[0]


def value(number: float, milliseconds: int) -> bytes:
    """Encode a sample that is a number."""
    return _field(2, _double(1, number) + _number(2, milliseconds))


def _of_request(sent: ExportMetricsServiceRequest) -> Iterator[tuple[dict[str, str], bytes]]:
    for resource in sent.resource_metrics:
        about = {_name(pair.key): _text(pair.value) for pair in resource.resource.attributes}
        target = {
            "job": about.get("service_name", ""),
            "instance": about.get("service_instance_id", ""),
        }
        milliseconds = 0
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.exponential_histogram.data_points:
                    labels = {
                        "__name__": f"{_name(metric.name)}_seconds",
                        **target,
                        **{_name(pair.key): _text(pair.value) for pair in point.attributes},
                    }
                    milliseconds = point.time_unix_nano // 1_000_000
                    yield labels, _of_point(point, milliseconds)
        if milliseconds:
            yield {"__name__": "target_info", **target, **about}, value(1.0, milliseconds)


def _of_point(point: ExponentialHistogramDataPoint, milliseconds: int) -> bytes:
    counts = list(point.positive.bucket_counts)
    return histogram(
        point.count, point.sum, point.scale, point.positive.offset, counts, milliseconds
    )


@contextmanager
def bridge(prometheus_url: str) -> Iterator[str]:
    """Receive OTLP at the address that is yielded, and write its histograms to a Prometheus."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            written(prometheus_url, _of_request(ExportMetricsServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _name(name: str) -> str:
    return name.replace(".", "_")


def _text(found: Any) -> str:
    return str(getattr(found, found.WhichOneof("value") or "string_value"))


# Protocol Buffers and Snappy, as far as this needs them


def _labels(labels: Mapping[str, str]) -> bytes:
    """Encode labels in the order of their names; a label without a value is none."""
    return b"".join(
        _field(1, _field(1, name.encode()) + _field(2, text.encode()))
        for name, text in sorted(labels.items())
        if text
    )


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)


def _field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _snappy(data: bytes) -> bytes:
    """Write Snappy's format without compressing anything: literals of at most 64 KB."""
    made = [_varint(len(data))]
    for start in range(0, len(data), 65_536):
        part = data[start : start + 65_536]
        made += [b"\xf4" + struct.pack("<H", len(part) - 1), part]
    return b"".join(made)
