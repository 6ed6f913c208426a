"""Meter providers of tracing libraries, which stand for one of the SDK's."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

import metertap
from metertap import catalogue
from metertap.otel import others
from metertap.otel.by_provider import ByProvider
from support.metric_data import points

DURATION = "gen_ai.execute_tool.duration"


@dataclass
class Proxy(MeterProvider):
    """Has no hash, as that of logfire's."""

    provider: MeterProvider

    def get_meter(self, *args: Any, **kwargs: Any) -> Meter:
        return self.provider.get_meter(*args, **kwargs)


def test_they_get_every_call_also_when_measuring_begins_again() -> None:
    reader = InMemoryMetricReader()
    provider = Proxy(SdkProvider([reader]))
    for number in (1, 2):
        with metertap.instrument(json_endpoint=False, meter_provider=provider):
            with metertap.measure_tool("search"):
                pass
            (point,) = points(reader, DURATION)
            assert point.count == number


def test_what_is_kept_of_a_provider_goes_with_it() -> None:
    kept: ByProvider[list[object]] = ByProvider(lambda provider: [])
    first, second = SdkProvider(), Proxy(SdkProvider())
    assert kept.of(second) is kept.of(second)
    assert kept.of(first) is not kept.of(Proxy(second.provider))
    gc.collect()
    assert set(map(id, kept.providers())) == {id(first), id(second)}


class InSpan(Proxy):
    """Adds what is recorded to the present span as well, as logfire's does."""

    def get_meter(self, *args: Any, **kwargs: Any) -> Meter:
        meter = super().get_meter(*args, **kwargs)
        create = meter.create_histogram

        def create_histogram(name: str, **options: Any) -> Any:
            histogram = create(name, **options)
            record = histogram.record

            def recorded(amount: float, attributes: Any, context: Context | None = None) -> None:
                trace.get_current_span(context).set_attribute(name, amount)
                record(amount, attributes, context)

            histogram.record = recorded  # type: ignore[method-assign]
            return histogram

        meter.create_histogram = create_histogram  # type: ignore[method-assign]
        return meter


def test_a_span_of_the_programs_gets_nothing_of_metertaps() -> None:
    reader = InMemoryMetricReader()
    provider = InSpan(SdkProvider([reader]))
    with (
        metertap.instrument(json_endpoint=False, meter_provider=provider),
        TracerProvider().get_tracer("shop").start_as_current_span("sale") as span,
        metertap.measure_tool("search"),
    ):
        pass
    assert dict(getattr(span, "attributes", {})) == {}
    (point,) = points(reader, DURATION)
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id, exemplar.span_id) == (
        span.get_span_context().trace_id,
        span.get_span_context().span_id,
    )


def test_an_instrumentation_behind_them_that_records_the_same_metric_is_seen() -> None:
    inner = SdkProvider()
    found = {catalogue.TOKEN_USAGE.name}
    assert others.recording(Proxy(inner), found) is None
    inner.get_meter("pydantic-ai").create_histogram(catalogue.TOKEN_USAGE.name)
    assert others.recording(Proxy(inner), found) == "pydantic-ai"
