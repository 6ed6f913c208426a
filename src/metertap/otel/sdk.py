"""The private parts of the OpenTelemetry SDK, and its version: only this package uses them.

If an attribute is missing, the answer is the one that makes metertap do less, and `problems`
reports it to `doctor`.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context, get_current
from opentelemetry.environment_variables import OTEL_PYTHON_METER_PROVIDER
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

from metertap import locks

SET_PROVIDER_MODULE = "opentelemetry.metrics._internal"
SET_PROVIDER_FUNCTION = "_set_meter_provider"
"""The function in which every way of setting the global provider ends; looked up at call time."""

CONSUMER_MODULE = "opentelemetry.sdk.metrics._internal.measurement_consumer"
ADD_READER_FUNCTION = "SynchronousMeasurementConsumer.add_metric_reader"
"""The function that adds every later reader, which must not get earlier data."""

TRACE_MODULE = "opentelemetry.sdk.trace"
START_SPAN_METHOD = "Tracer.start_span"
"""The method that starts every span of the SDK. Many programs import it and trace nothing."""

_LOCKING = "opentelemetry.sdk.metrics._internal"
"""The package whose functions hold locks of the SDK, but for those that export."""
_EXPORTING = f"{_LOCKING}.export"

_KINDS = (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
_unknown: set[str] = set()
"""Values of the variable by which the program names its provider that name none."""
_HAS_SERIES_LIMITS = "cardinality_limits" in inspect.signature(MetricReader.__init__).parameters


def provider_in_force() -> metrics.MeterProvider | None:
    """Return the global meter provider, or None while nobody has set one."""
    named = os.environ.get(OTEL_PYTHON_METER_PROVIDER)
    is_set = getattr(metrics._internal, "_METER_PROVIDER", None) is not None
    # An empty variable counts as unset. A provider of an unknown name is asked for once, since
    # OpenTelemetry logs a traceback each time.
    if not is_set and named is not None and (not named.strip() or named in _unknown):
        return None
    try:
        provider = metrics.get_meter_provider()
    except Exception:
        if named is None:
            raise
        _unknown.add(named)
        return None
    proxy = getattr(metrics._internal, "_PROXY_METER_PROVIDER", None)
    return None if provider is proxy else provider


class _Hearing:
    """A gRPC client that passes each answer on to a function as well."""

    def __init__(self, client: Any, heard: Callable[[Any], None]) -> None:
        self._client, self._heard = client, heard

    def Export(self, *args: Any, **kwargs: Any) -> Any:  # as it is called
        answer = self._client.Export(*args, **kwargs)
        self._heard(answer)
        return answer


_CONNECT = "_initialize_channel_and_stub"
"""The method with which a gRPC exporter connects."""


def hear_answers(exporter: object, heard: Callable[[Any], None]) -> None:
    """Call `heard` with each answer that a gRPC exporter gets, and would drop."""
    client, stub = getattr(exporter, "_client", None), getattr(exporter, "_stub", None)
    if client is not None and callable(stub):
        # It makes a new client after a connection was lost.
        private: Any = exporter
        private._client = _Hearing(client, heard)
        private._stub = lambda channel: _Hearing(stub(channel), heard)


def cut_off(exporter: object) -> bool:
    """Close a gRPC exporter's connection, which ends the export in progress.

    Returns False if that is not possible.
    """
    channel = getattr(exporter, "_channel", None)
    if channel is None or not callable(getattr(exporter, _CONNECT, None)):
        return False
    channel.close()
    return True


def connect_again(exporter: object) -> None:
    """Give a gRPC exporter a new connection after `cut_off`."""
    getattr(exporter, _CONNECT)()


def sampled_context() -> Context | None:
    """Return the context of the current span, if that is sampled."""
    context = get_current()
    flags = trace.get_current_span(context).get_span_context().trace_flags
    return context if flags.sampled else None


def takes_readers(provider: object) -> bool:
    """Return whether readers can be added to `provider`: it is an SDK one (1.43 or later)."""
    return hasattr(provider, "add_metric_reader") and hasattr(provider, "remove_metric_reader")


def series_limits(limit: int) -> dict[str, Any]:
    """Return the keywords of a reader that bound the series per metric; none before SDK 1.45."""
    return {"cardinality_limits": dict.fromkeys(_KINDS, limit)} if _HAS_SERIES_LIMITS else {}


def export_natively(reader: MetricReader) -> None:
    """Give a periodic reader of ours a lock of ours: gevent's is for the threads that it knows."""
    if hasattr(reader, "_export_lock"):
        private: Any = reader
        private._export_lock = locks.lock()


def is_attached(reader: MetricReader) -> bool:
    """Return whether `reader` can collect; if not, the SDK would log a warning."""
    return reader._collect is not None


def is_within() -> bool:
    """Return whether this thread is in the middle of the SDK, which may hold its locks.

    A callback of the program's runs there, or a signal handler, or a finaliser. The locks are not
    reentrant, so that a collection would wait for them for ever.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if type(name) is str and name.startswith(_LOCKING) and not name.startswith(_EXPORTING):
            return True
        frame = frame.f_back
    return False


@contextmanager
def outlasting_callbacks() -> Iterator[None]:
    """Make an error of what a callback of the application's ends a collection by.

    The SDK passes over a callback's exceptions, but not over SystemExit, CancelledError and their
    like. In a thread of ours that would be its end, and nobody would be told.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as end:
        if not threading.current_thread().name.startswith("metertap-"):
            raise
        raise RuntimeError(f"a callback ended by {type(end).__qualname__}") from None


def detach(provider: Any, reader: Any) -> None:
    """Remove `reader` from `provider`. A collection in progress elsewhere finds nothing."""
    reader._set_collect_callback(_collect_nothing)
    provider.remove_metric_reader(reader)
    reader._set_collect_callback(_collect_nothing)


def _collect_nothing(_reader: MetricReader, **_kwargs: Any) -> None:
    return None


def collecting(provider: object) -> Any:
    """Return the lock that collections of `provider` hold, if it has one.

    It is not reentrant: a collection cannot take it twice.
    """
    return getattr(getattr(provider, "_measurement_consumer", None), "_lock", None)


def readers_of(provider: object) -> list[MetricReader]:
    """List the readers of an SDK provider, including those added later."""
    consumer = getattr(provider, "_measurement_consumer", None)
    storages = getattr(consumer, "_reader_storages", None)
    if isinstance(storages, Mapping):
        return list(storages)
    return list(getattr(provider, "_metric_readers", ()))


def resource_of(provider: object) -> dict[str, Any]:
    """Return the resource attributes of an SDK provider."""
    resource = getattr(getattr(provider, "_sdk_config", None), "resource", None)
    return dict(getattr(resource, "attributes", {}))


def exports_otlp(reader: MetricReader) -> bool:
    """Return whether `reader` pushes OTLP."""
    if not isinstance(reader, PeriodicExportingMetricReader):
        return False
    exporter = type(getattr(reader, "_exporter", None))
    return any(
        cls.__module__.startswith("opentelemetry.exporter.otlp.") for cls in exporter.__mro__
    )


def exports_prometheus(reader: MetricReader) -> bool:
    """Return whether `reader` is the standard Prometheus reader, or ours."""
    return getattr(reader, "exports_prometheus", False) or any(
        cls.__module__.startswith("opentelemetry.exporter.prometheus")
        for cls in type(reader).__mro__
    )


def is_disabled(provider: object) -> bool:
    """Return whether an SDK provider hands out meters that do nothing."""
    return isinstance(provider, MeterProvider) and bool(getattr(provider, "_disabled", False))


def problems() -> list[str]:
    """List private parts that the installed SDK lacks, and the consequences."""
    found = []
    if not hasattr(metrics._internal, SET_PROVIDER_FUNCTION):
        found.append("a provider set after instrument() is noticed at the next snapshot() only")
    if not hasattr(metrics._internal, "_PROXY_METER_PROVIDER"):
        found.append("an unset global provider cannot be told from one that was set")
    if not _HAS_SERIES_LIMITS:
        found.append("this SDK does not bound the series of a metric (1.45 and later do)")
    return found
