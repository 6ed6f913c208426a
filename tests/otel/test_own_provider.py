"""Metertap's own provider is made whatever the SDK thinks of its variables."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from metertap.otel.own_provider import OwnProvider
from support.warned import warnings_of

pytestmark = pytest.mark.sdk
VARIABLE = "OTEL_METRICS_EXEMPLAR_FILTER"


@pytest.mark.parametrize(
    ("value", "warned"),
    [("", []), (" ", []), ("always_off", []), ("never", [f"{VARIABLE}='never' cannot be used"])],
)
def test_a_filter_of_exemplars_that_the_sdk_refuses_is_told_and_left_out(
    value: str,
    warned: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    provider, reader = OwnProvider(Resource({})), InMemoryMetricReader()
    provider.add_metric_reader(reader)
    provider.get_meter("test").create_counter("count").add(1)
    assert reader.get_metrics_data() is not None
    assert [text.partition(" (")[0] for text in warnings_of(caplog)] == warned
