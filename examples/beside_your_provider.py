"""An application with its own OpenTelemetry provider, which metertap uses and does not replace."""

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap

reader = InMemoryMetricReader()  # yours would export over OTLP
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))

with metertap.instrument():  # before or after the provider is set

    @metertap.tool
    def search(query: str) -> list[str]:
        return [query]

    search("tap")

    data = reader.get_metrics_data()
    assert data is not None
    for scope in data.resource_metrics[0].scope_metrics:
        for metric in scope.metrics:
            for point in metric.data.data_points:
                print(metric.name, dict(point.attributes or {}))
