"""The application's provider, and no instrumentor that another test has left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from support.process_figures import set_provider


@pytest.fixture(autouse=True)
def no_instrumentor_of_the_application() -> Iterator[None]:
    """It is a singleton that cannot stop."""
    system_metrics = pytest.importorskip("opentelemetry.instrumentation.system_metrics")
    system_metrics.SystemMetricsInstrumentor._instance = None
    yield
    system_metrics.SystemMetricsInstrumentor._instance = None


@pytest.fixture
def theirs() -> Iterator[InMemoryMetricReader]:
    """A reader of the application's provider, which is the global one."""
    reader, provider = set_provider()
    yield reader
    provider.shutdown()
