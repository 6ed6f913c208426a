"""What the instrumentors' tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import Tap


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """A reader of the application's own; `tap` records to its provider."""
    return InMemoryMetricReader()


@pytest.fixture
def tap(reader: InMemoryMetricReader) -> Iterator[Tap]:
    """Everything patched; no endpoint, whose end would take its time."""
    provider = MeterProvider([reader])
    with metertap.instrument(json_endpoint=False, meter_provider=provider) as tap:
        yield tap
    provider.shutdown()
