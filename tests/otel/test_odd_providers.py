"""Meter providers that compare by their fields, and so have no hash."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap.otel.by_provider import ByProvider
from support.metric_data import points

DURATION = "gen_ai.execute_tool.duration"


@dataclass
class Proxy(MeterProvider):
    """Has no hash, as that of logfire's."""

    inner: MeterProvider

    def get_meter(self, *args: Any, **kwargs: Any) -> Meter:
        return self.inner.get_meter(*args, **kwargs)


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
    assert kept.of(first) is not kept.of(Proxy(second.inner))
    gc.collect()
    assert set(map(id, kept.providers())) == {id(first), id(second)}
