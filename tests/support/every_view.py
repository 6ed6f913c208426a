"""What the JSON document, the Prometheus text and an OTLP export say after the same calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

import metertap
from servers.otlp_receiver import Receiver, receiver
from support.exposition import Samples, samples
from support.http import get
from support.waiting import wait_for


class Published(NamedTuple):
    """The three views after the same calls."""

    document: dict[str, Any]
    scrape: Samples
    otlp: Receiver
    most: float
    """Seconds that all of it took."""


Publish = Callable[[Callable[[], None]], Published]
"""Calls a function, and returns what is published after it."""


@contextmanager
def publishing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    """Measure this process until the block ends, for all three views."""
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "600000")
        with metertap.instrument(prometheus=True) as tap:

            def after(way: Callable[[], None]) -> Published:
                started = time.perf_counter()
                way()
                most = time.perf_counter() - started
                scrape = samples(get(wait_for(lambda: tap.prometheus_url) + "/metrics").body)
                document: Any = tap.snapshot()
                assert tap.diagnosis()["faults"] == {}
                tap.flush(60_000)
                return Published(document, scrape, collector, most)

            yield after


def points(otlp: Receiver, metric: str, unit: str, **attributes: str) -> list[Any]:
    """Data points of the last export that have these attributes, dots written as underscores."""
    sent = otlp.metrics(metric)[-1]
    assert sent.unit == unit
    data = getattr(sent, sent.WhichOneof("data"))
    return [
        point
        for point in data.data_points
        if attributes.items()
        <= {
            pair.key.replace(".", "_"): pair.value.string_value for pair in point.attributes
        }.items()
    ]
