"""OpenTelemetry's global meter provider can be set once a process; tests set it many times."""

from __future__ import annotations

from opentelemetry.metrics import _internal
from opentelemetry.util._once import Once


def unset_global_provider() -> None:
    """As if nobody had set a provider."""
    _internal._METER_PROVIDER = None
    _internal._METER_PROVIDER_SET_ONCE = Once()
    _internal._PROXY_METER_PROVIDER = _internal._ProxyMeterProvider()
