"""Real servers on free ports of loopback, each with a data folder of its own."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from servers.real import program
from support.http import get
from support.ports import free_port
from support.waiting import wait_for


@dataclass(frozen=True)
class Store:
    """A server that answers PromQL."""

    url: str
    flush: str | None = None
    """What makes it see at once what it was sent."""

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Values of an instant query by their labels."""
        if self.flush is not None:
            get(self.url + self.flush)
        answer = get(f"{self.url}/api/v1/query?query={quote(expression)}").json()
        assert answer["status"] == "success", answer
        return {
            tuple(sorted(item["metric"].items())): float(item["value"][1])
            for item in answer["data"]["result"]
        }

    def value(self, expression: str) -> float | None:
        """The one value of a query; None where there is none yet."""
        found = list(self.query(expression).values())
        assert len(found) < 2, found
        return found[0] if found else None

    def targets(self) -> list[dict[str, Any]]:
        """What Prometheus scrapes, and how that went."""
        found: list[dict[str, Any]] = get(f"{self.url}/api/v1/targets").json()["data"][
            "activeTargets"
        ]
        return found


@contextmanager
def _running(folder: Path, *command: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def prometheus(
    folder: Path,
    *targets: str,
    rules: Path | None = None,
    alertmanager: str | None = None,
    scrape: Mapping[str, Any] | None = None,
    takes_native: bool = False,
) -> Iterator[Store]:
    """A Prometheus that scrapes the endpoints at `targets` five times a second.

    It evaluates a file of rules as often, and sends alerts to the Alertmanager at that address.
    `scrape` says how it scrapes: by which token, with which certificates. One that `takes_native`
    histograms has them written to it, and is of version 3.
    """
    path = program("prometheus3" if takes_native else "prometheus")
    port = free_port()
    managers = [] if alertmanager is None else [urlsplit(alertmanager).netloc]
    config = {
        "global": {
            "scrape_interval": "200ms",
            "scrape_timeout": "200ms",
            "evaluation_interval": "200ms",
        },
        "rule_files": [] if rules is None else [str(rules)],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": managers}]}]},
        "scrape_configs": [
            {
                "job_name": "metertap",
                "static_configs": [{"targets": [urlsplit(url).netloc for url in targets]}],
                **(scrape or {}),
            }
        ],
    }
    folder.mkdir(parents=True)
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    arguments = (
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    native = ("--web.enable-remote-write-receiver", "--enable-feature=native-histograms")
    with _running(folder, path, *arguments, *(native if takes_native else ())):
        store = Store(f"http://127.0.0.1:{port}")
        wait_for(lambda: _answers(f"{store.url}/-/ready"))
        yield store


@contextmanager
def prometheus_of(folder: Path, openmetrics: str) -> Iterator[Store]:
    """A Prometheus that scrapes nothing, and holds samples of the past: OpenMetrics with times."""
    path, promtool = program("prometheus"), program("promtool")
    port = free_port()
    folder.mkdir(parents=True)
    (folder / "samples").write_text(openmetrics, encoding="utf-8")
    (folder / "prometheus.yml").write_text("{}")
    made = (promtool, "tsdb", "create-blocks-from", "openmetrics", "samples", "data")
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    arguments = (
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with _running(folder, path, *arguments):
        store = Store(f"http://127.0.0.1:{port}")
        wait_for(lambda: _answers(f"{store.url}/-/ready"))
        yield store


@contextmanager
def alertmanager(folder: Path, webhook: str) -> Iterator[str]:
    """An Alertmanager that passes every alert on at once: its address."""
    path = program("alertmanager")
    port = free_port()
    config = {
        "route": {
            "receiver": "webhook",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
        },
        "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook}]}],
    }
    folder.mkdir(parents=True)
    (folder / "alertmanager.yml").write_text(json.dumps(config))
    arguments = (
        "--config.file=alertmanager.yml",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    with _running(folder, path, *arguments):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(f"{url}/-/ready"))
        yield url


@contextmanager
def victoria_metrics(folder: Path) -> Iterator[Store]:
    """A store that takes OTLP over HTTP at `/opentelemetry/v1/metrics`."""
    path = program("victoria-metrics")
    port = free_port()
    with _running(
        folder,
        path,
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-search.latencyOffset=0s",
        "-search.disableCache",
        "-opentelemetry.usePrometheusNaming",
    ):
        store = Store(f"http://127.0.0.1:{port}", flush="/internal/force_flush")
        wait_for(lambda: _answers(f"{store.url}/health"))
        yield store


@dataclass(frozen=True)
class Collector:
    """An OTLP receiver, and the store that it passes everything on to."""

    grpc: str
    http: str
    store: Store


@contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    """A rotel in front of a VictoriaMetrics."""
    with (
        victoria_metrics(folder / "store") as store,
        collector_to(folder, store, f"{store.url}/opentelemetry") as made,
    ):
        yield made


@contextmanager
def collector_to(folder: Path, store: Store, endpoint: str) -> Iterator[Collector]:
    """A rotel that passes everything on, over OTLP, to an endpoint that leads to the store."""
    path = program("rotel-agent")
    grpc, http = free_port(), free_port()
    command = (
        *(path, "start"),
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http}"),
        *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
        *("--otlp-exporter-endpoint", endpoint),
        *("--batch-timeout", "50ms"),
    )
    with _running(folder / "collector", *command):
        wait_for(lambda: _listens(grpc) and _listens(http))
        yield Collector(f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}", store)


@contextmanager
def redis_server(folder: Path, *arguments: str) -> Iterator[int]:
    """A Redis that keeps nothing on disk: the port where it listens."""
    path = program("redis-server")
    port = free_port()
    listen = ("--bind", "127.0.0.1", "--port", str(port), "--save", "")
    with _running(folder, path, *listen, *arguments):
        wait_for(lambda: _listens(port))
        yield port


@contextmanager
def memcached(folder: Path) -> Iterator[int]:
    """A memcached: the port where it listens."""
    path = program("memcached")
    port = free_port()
    # Run by root, it wants to be told as whom to run.
    arguments = ("-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", getuser())
    with _running(folder, path, *arguments):
        wait_for(lambda: _listens(port))
        yield port


def _answers(url: str) -> bool:
    try:
        return get(url).status == 200
    except OSError:
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
