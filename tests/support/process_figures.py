"""The metrics of a process, as a reader of the application's or of metertap's own finds them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import Tap
from support.metric_data import points

UTILIZATION = "process.cpu.utilization"  # no data in the first second


AT_ONCE = {
    "process.cpu.time": 2,
    "process.memory.usage": 1,
    "process.memory.virtual": 1,
    "process.thread.count": 1,
    "process.open_file_descriptor.count": 1,
    "process.context_switches": 2,
    "process.disk.io": 2,
    "cpython.gc.collections": 3,
    "cpython.gc.collected_objects": 3,
    "cpython.gc.uncollectable_objects": 3,
}
"""How many points each has."""


def set_provider() -> tuple[InMemoryMetricReader, MeterProvider]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return reader, provider


def reader_of_ours(tap: Tap) -> InMemoryMetricReader:
    assert tap.pipeline.owned is not None
    reader = InMemoryMetricReader()
    tap.pipeline.owned.add_metric_reader(reader)
    return reader


def begin(tap: Tap) -> None:
    """See a first cache, and wait for what that sets off."""
    metertap.cache_meter("any").hit()
    assert tap.pipeline.process_metrics.wait(60)


def found(reader: InMemoryMetricReader, *, but: str = UTILIZATION) -> dict[str, int]:
    """How many points each metric of process or host has, over all scopes."""
    data = reader.get_metrics_data()
    counted: Counter[str] = Counter()
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name.startswith(("process.", "cpython.", "system.")):
                    counted[metric.name] += len(metric.data.data_points)
    return {name: count for name, count in counted.items() if count and name != but}


def by_type(reader: InMemoryMetricReader, name: str, label: str = "type") -> dict[Any, float]:
    return {point.attributes.get(label): point.value for point in points(reader, name)}
