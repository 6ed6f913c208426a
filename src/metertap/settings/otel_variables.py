"""OpenTelemetry's own variables, as its specification defines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from metertap.faults import shown, warn_once
from metertap.settings.values import names, tell_unusable

_OTLP_EXPORTERS = {"otlp": None, "otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}
"""Names in OTEL_METRICS_EXPORTER that mean OTLP, and the protocol that they fix."""
_OTHER_EXPORTERS = frozenset({"none", "prometheus", "metertap_json", "metertap_prometheus"})
_EXPORTERS = "opentelemetry_metrics_exporter"
"""The group of entry points."""


@dataclass(frozen=True, slots=True)
class OtelVariables:
    """What they say."""

    is_sdk_disabled: bool
    otlp: bool
    otlp_protocol: str
    prometheus: bool
    disabled_instrumentations: frozenset[str]
    """Names of any package's instrumentations."""
    resource_attributes: Mapping[str, str]


def read(environ: Mapping[str, str]) -> OtelVariables:
    """Read them. What cannot be used is one warning."""
    exporters = {name.lower() for name in names(environ.get("OTEL_METRICS_EXPORTER", ""))}
    _check_exporters(exporters)
    if "none" in exporters or environ.get("OTEL_CONFIG_FILE", "").strip():
        exporters = {"none"}  # the declarative file replaces every variable of theirs
    _, endpoint = _first_set(
        environ, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    return OtelVariables(
        is_sdk_disabled=_is_sdk_disabled(environ),
        # A list of exporters wins over an endpoint.
        otlp=bool(exporters & _OTLP_EXPORTERS.keys()) if exporters else bool(endpoint),
        otlp_protocol=_otlp_protocol(environ, exporters, endpoint),
        prometheus=bool(exporters & {"prometheus", "metertap_prometheus"}),
        disabled_instrumentations=names(environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")),
        resource_attributes=_resource_attributes(environ),
    )


def _check_exporters(exporters: set[str]) -> None:
    unknown = exporters - _OTLP_EXPORTERS.keys() - _OTHER_EXPORTERS
    if unknown:
        from importlib import metadata  # takes 20 ms, and is needed for a mistake alone

        unknown -= {entry.name for entry in metadata.entry_points(group=_EXPORTERS)}
    for name in sorted(unknown):
        variable = "OTEL_METRICS_EXPORTER"
        warn_once(f"{variable} {name}", "%s: no exporter %s is installed", variable, shown(name))


def _first_set(environ: Mapping[str, str], *variables: str) -> tuple[str, str]:
    """The first of `variables` that is set, and its value; the last one where none is."""
    variable = next((name for name in variables if environ.get(name, "").strip()), variables[-1])
    return variable, environ.get(variable, "").strip()


def _is_sdk_disabled(environ: Mapping[str, str]) -> bool:
    variable = "OTEL_SDK_DISABLED"
    word = environ.get(variable, "").strip().lower()
    if word not in {"true", "false", ""}:  # OpenTelemetry knows these two words only
        tell_unusable(variable, environ[variable], "true or false is needed", False)
    return word == "true"


def _otlp_protocol(environ: Mapping[str, str], exporters: set[str], endpoint: str) -> str:
    """`http/protobuf` or `grpc`: what is named, else what the endpoint's port is known for."""
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
        tell_unusable(variable, named, "grpc or http/protobuf is needed", default)
    return default


def _port_of(endpoint: str) -> int | None:
    try:
        # gRPC's own form has no scheme: collector:4317
        return urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").port
    except ValueError:  # the exporter itself says what is wrong with it
        return None


def _resource_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """`OTEL_RESOURCE_ATTRIBUTES`, so that what the operator said is not overwritten."""
    pairs = (item.partition("=") for item in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs if key.strip()}
