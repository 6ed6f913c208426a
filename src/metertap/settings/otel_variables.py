"""OpenTelemetry's own variables, as its specification defines them."""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from metertap.faults import shown
from metertap.labels import encodable
from metertap.parsing import names, number
from metertap.settings.telling import unusable, warn_once

_OTLP_EXPORTERS = {"otlp": None, "otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}
"""Names in OTEL_METRICS_EXPORTER that mean OTLP, and the protocol that they fix."""
_OTHER_EXPORTERS = frozenset({"none", "prometheus", "metertap_json", "metertap_prometheus"})
_EXPORTERS = "opentelemetry_metrics_exporter"
"""The group of entry points under which packages offer exporters."""
_EXPORT_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_DAY_MS = 86_400_000
_EMPTY: Mapping[str, str] = {}


class OtelVariables(NamedTuple):
    """The values of OpenTelemetry's variables that matter to metertap."""

    is_sdk_disabled: bool = False
    otlp: bool = False
    otlp_protocol: str = "http/protobuf"
    export_interval_seconds: float | None = None
    """Time between two exports; None if it is not set."""
    prometheus: bool = False
    disabled_instrumentations: frozenset[str] = frozenset()
    """Names of instrumentations, of any package."""
    excluded_process_metrics: frozenset[str] = frozenset()
    """Patterns of names of process metrics that are not to be recorded."""
    resource_attributes: Mapping[str, str] = _EMPTY
    refused: tuple[str, ...] = ()
    """Unusable settings, each with the reason."""


def read(environ: Mapping[str, str]) -> OtelVariables:
    """Read OpenTelemetry's variables. An unusable value is one warning."""
    exporters = {name.lower() for name in names(environ.get("OTEL_METRICS_EXPORTER", ""))}
    _check_exporters(exporters)
    if "none" in exporters or environ.get("OTEL_CONFIG_FILE", "").strip():
        exporters = {"none"}  # in force instead of all variables
    refused: list[str] = []
    _, endpoint = _first_set(
        environ, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    return OtelVariables(
        is_sdk_disabled=_is_sdk_disabled(environ, refused),
        # A list of exporters takes precedence over an endpoint.
        otlp=bool(exporters & _OTLP_EXPORTERS.keys()) if exporters else bool(endpoint),
        otlp_protocol=_otlp_protocol(environ, exporters, endpoint, refused),
        export_interval_seconds=_export_interval_seconds(environ, refused),
        prometheus=bool(exporters & {"prometheus", "metertap_prometheus"}),
        disabled_instrumentations=names(environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")),
        excluded_process_metrics=names(
            environ.get("OTEL_PYTHON_SYSTEM_METRICS_EXCLUDED_METRICS", "")
        ),
        resource_attributes=_resource_attributes(environ),
        refused=tuple(refused),
    )


def _check_exporters(exporters: set[str]) -> None:
    unknown = exporters - _OTLP_EXPORTERS.keys() - _OTHER_EXPORTERS
    if unknown:
        from importlib import metadata  # takes 20 ms, and is only needed after a mistake

        unknown -= {entry.name for entry in metadata.entry_points(group=_EXPORTERS)}
    for name in sorted(unknown):
        variable = "OTEL_METRICS_EXPORTER"
        warn_once(f"{variable} {name}", "%s: no exporter %s is installed", variable, shown(name))


def _first_set(environ: Mapping[str, str], *variables: str) -> tuple[str, str]:
    """Return the first of `variables` that is set, or else the last, and its value."""
    variable = next((name for name in variables if environ.get(name, "").strip()), variables[-1])
    return variable, environ.get(variable, "").strip()


def _is_sdk_disabled(environ: Mapping[str, str], refused: list[str]) -> bool:
    variable = "OTEL_SDK_DISABLED"
    word = environ.get(variable, "").strip().lower()
    if word not in {"true", "false", ""}:  # OpenTelemetry defines no other words
        why = "true or false is needed"
        refused.append(unusable(variable, environ[variable], why, False))
    return word == "true"


def _otlp_protocol(
    environ: Mapping[str, str], exporters: set[str], endpoint: str, refused: list[str]
) -> str:
    """Choose `http/protobuf` or `grpc`: what is named, else what the endpoint's port stands for."""
    for exporter in sorted(exporters & _OTLP_EXPORTERS.keys()):
        if (fixed := _OTLP_EXPORTERS[exporter]) is not None:
            return fixed
    variable, named = _first_set(
        environ, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if named.lower() in {"grpc", "http/protobuf"}:
        return named.lower()
    default = "grpc" if _port_of(endpoint) == 4317 else "http/protobuf"
    if named:
        why = "grpc or http/protobuf is needed"
        refused.append(unusable(variable, named, why, default))
    return default


def _export_interval_seconds(environ: Mapping[str, str], refused: list[str]) -> float | None:
    word = environ.get(_EXPORT_INTERVAL, "").strip()
    if not word:
        return None
    try:
        return number(1, _DAY_MS, "milliseconds")(word) / 1000
    except ValueError as error:
        refused.append(unusable(_EXPORT_INTERVAL, word, str(error), None))
        return None


def _port_of(endpoint: str) -> int | None:
    try:
        # gRPC's own form has no scheme: collector:4317
        return urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").port
    except ValueError:  # the exporter itself reports what is wrong with it
        return None


def _resource_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """Parse `OTEL_RESOURCE_ATTRIBUTES`, since the operator's attributes must not be replaced."""
    given = encodable(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    pairs = (item.partition("=") for item in given.split(","))
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs if key.strip()}
