"""OTLP over HTTP and gRPC, through a real collector into a real store, asked in PromQL."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.http import get
from support.programs import run
from support.real import program
from support.waiting import wait_for

pytestmark = pytest.mark.real

MEASURED = """
import metertap
metertap.instrument()
for number in range(40):
    metertap.record_tool_call("search", success=number % 4 != 0, latency_ms=number + 1.0,
                              error_type="KeyError" if number % 4 == 0 else None)
prices = metertap.cache_meter("prices")
prices.hit(); prices.hit(); prices.miss()
"""


def _port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Store:
    """VictoriaMetrics, and what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def value(self, expression: str) -> float | None:
        """The value of an instant query with one series."""
        query = urllib.parse.urlencode({"query": expression})
        result: list[Any] = get(f"{self.url}/api/v1/query?{query}").json()["data"]["result"]
        return float(result[0]["value"][1]) if result else None


@pytest.fixture(scope="module")
def real_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str, str]]:
    """The store, and the collector's addresses for gRPC and for HTTP."""
    victoria, rotel = program("victoria-metrics"), program("rotel-agent")
    folder = tmp_path_factory.mktemp("store")
    store_port, grpc_port, http_port = _port(), _port(), _port()
    store = Store(f"http://127.0.0.1:{store_port}")
    with ExitStack() as stack:
        for command in (
            [
                victoria,
                f"-storageDataPath={folder}",
                f"-httpListenAddr=127.0.0.1:{store_port}",
                "-search.latencyOffset=0s",
                "-retentionPeriod=1y",
                "-opentelemetry.usePrometheusNaming",
            ],
            [
                rotel,
                "start",
                "--otlp-grpc-endpoint",
                f"127.0.0.1:{grpc_port}",
                "--otlp-http-endpoint",
                f"127.0.0.1:{http_port}",
                "--exporter",
                "otlp",
                "--otlp-exporter-protocol",
                "http",
                *(
                    argument
                    for signal in ("metrics", "traces", "logs")
                    for argument in (
                        f"--otlp-exporter-{signal}-endpoint",
                        f"{store.url}/opentelemetry/v1/{signal}",
                    )
                ),
            ],
        ):
            server = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(server.kill)
        for port in (store_port, grpc_port, http_port):
            wait_for(lambda port=port: _accepts(port), 30)
        yield store, f"http://127.0.0.1:{grpc_port}", f"http://127.0.0.1:{http_port}"


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_what_was_recorded_arrives_and_agrees(
    real_servers: tuple[Store, str, str], protocol: str, tmp_path: Path
) -> None:
    store, grpc, http = real_servers
    service = f"till-{protocol.partition('/')[0]}"
    measured = run(
        sys.executable,
        "-c",
        MEASURED + "import json; print(json.dumps(metertap.get_all_metrics()))",
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": grpc if protocol == "grpc" else http,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_SERVICE_NAME": service,
        },
    )
    assert measured.status == 0, measured.told
    assert measured.told == ""
    tool = json.loads(measured.stdout)["tool_metrics"]["search"]
    calls = f'gen_ai_execute_tool_duration_seconds_count{{service_name="{service}"}}'
    wait_for(lambda: store.value(f"sum({calls})"), 30)
    assert store.value(f"sum({calls})") == tool["total_calls"] == 40
    failed = calls.replace("}", ',metertap_outcome="exception",error_type="KeyError"}')
    assert store.value(f"sum({failed})") == tool["failed_calls"] == 10
    seconds = store.value(f"sum({calls.replace('_count', '_sum')})")
    assert seconds == pytest.approx(tool["total_latency_ms"] / 1000)
    hits = f'cache_requests_total{{service_name="{service}",cache_request_type="hit",cache_name="prices"}}'
    assert store.value(f"sum({hits})") == 2
