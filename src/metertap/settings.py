"""Settings: read once, in this one place, into a frozen object.

Keyword > environment > file > default. The file is `[tool.metertap]` in the working
directory's `pyproject.toml`, or the TOML file that `METERTAP_CONFIG` names (same table, or its
keys at top level). A value that cannot be used is one warning that names the setting, the value
and the default taken; it is never an exception.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlsplit

from metertap.guard import guarded, warn_once

JSON_PORT = 9109
PROMETHEUS_PORT = 9108


class Options(TypedDict, total=False):
    """Keywords of `metertap.instrument`; each has an environment variable of its own."""

    enabled: bool
    window_size: int
    json_endpoint: bool
    json_port: int
    json_host: str
    prometheus: bool
    prometheus_port: int
    prometheus_host: str
    series_limit: int
    allowed_hosts: list[str]
    disabled_instrumentations: list[str]
    service_name: str
    meter_provider: Any


@dataclass(frozen=True, slots=True)
class Settings:
    """What one process was told. Ports and sizes are validated; `sources` says who set what."""

    enabled: bool = True
    window_size: int = 1000
    json_endpoint: bool = True
    json_port: int = JSON_PORT
    json_host: str = "127.0.0.1"
    prometheus: bool = False
    prometheus_port: int = PROMETHEUS_PORT
    prometheus_host: str = "127.0.0.1"
    series_limit: int = 2000
    allowed_hosts: frozenset[str] = frozenset()
    disabled_instrumentations: frozenset[str] = frozenset()
    service_name: str | None = None
    otlp: bool = False
    otlp_protocol: str = "http/protobuf"
    disabled_because: str | None = None
    resource_from_environment: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def is_explicit(self, name: str) -> bool:
        """Whether somebody set `name`, as opposed to the default standing."""
        return name in self.sources


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError("true or false is needed")


def _integer(lowest: int, highest: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, bool | float):
            raise ValueError("a whole number is needed")
        number = int(str(value).strip())
        if not lowest <= number <= highest:
            raise ValueError(f"a number from {lowest} to {highest} is needed")
        return number

    return parse


def _text(value: object) -> str:
    text = str(value).strip()
    if not text:
        raise ValueError("a value is needed")
    return text


def _names(value: object) -> frozenset[str]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple | set | frozenset):
        raise ValueError("names separated by commas are needed")
    return frozenset(word for item in words if (word := str(item).strip()))


_port = _integer(0, 65535)

# keyword → (environment variable, parser). The table drives reading, warnings and `doctor`.
TABLE: dict[str, tuple[str, Callable[[object], Any]]] = {
    "enabled": ("PERFORMANCE_METRICS_ENABLED", _boolean),
    "window_size": ("METRICS_WINDOW_SIZE", _integer(2, 1_000_000)),
    "json_endpoint": ("METRICS_JSON_ENDPOINT_ENABLED", _boolean),
    "json_port": ("METRICS_JSON_PORT", _port),
    "json_host": ("METRICS_JSON_HOST", _text),
    "prometheus": ("PROMETHEUS_ENABLED", _boolean),
    "prometheus_port": ("PROMETHEUS_PORT", _port),
    "prometheus_host": ("PROMETHEUS_HOST", _text),
    "series_limit": ("METERTAP_SERIES_LIMIT", _integer(1, 10_000_000)),
    "allowed_hosts": ("METERTAP_ALLOWED_HOSTS", _names),
    "disabled_instrumentations": ("METERTAP_DISABLED_INSTRUMENTATIONS", _names),
    "service_name": ("OTEL_SERVICE_NAME", _text),
}
_CONFIG_FILE = "METERTAP_CONFIG"
_OTHER_VARIABLES = frozenset({_CONFIG_FILE, "METERTAP_RUN_CHILDREN"})
_NOT_VALUES = frozenset({"meter_provider"})  # an object for the pipeline, not a setting
_TABLES_IN_FILE = frozenset({"tools", "caches"})


def read(
    options: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read every setting. Never raises."""
    environ = os.environ if environ is None else environ
    options = options or {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    with guarded("settings"):
        for source, given in (
            ("file", _from_file(environ)),
            ("environment", _from_environment(environ)),
            ("keyword", _from_keywords(options)),
        ):
            for name, (shown, raw) in given.items():
                try:
                    values[name] = TABLE[name][1](raw)
                    sources[name] = source
                except (ValueError, TypeError) as error:
                    taken = values.get(name, Settings.__dataclass_fields__[name].default)
                    warn_once(
                        f"setting {shown}",
                        "%s=%r cannot be used (%s); %r is taken",
                        shown,
                        raw,
                        error,
                        taken,
                    )
    settings = Settings(**values, sources=sources)
    with guarded("settings.opentelemetry"):
        return _with_opentelemetry(settings, environ)
    return settings


def _from_keywords(options: Mapping[str, Any]) -> dict[str, tuple[str, object]]:
    given = {}
    for name, value in options.items():
        if name in TABLE:
            if value is not None:
                given[name] = (name, value)
        elif name not in _NOT_VALUES:
            _tell_unknown(f"instrument({name}=…)", name, TABLE)
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    # An empty variable is an unset one: OpenTelemetry's rule for its own variables.
    given: dict[str, tuple[str, object]] = {
        name: (variable, environ[variable])
        for name, (variable, _) in TABLE.items()
        if environ.get(variable, "").strip()
    }
    known = {variable for variable, _ in TABLE.values()} | _OTHER_VARIABLES
    for variable in environ:
        if variable.startswith("METERTAP_") and variable not in known:
            _tell_unknown(variable, variable, known)
    return given


def _from_file(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    named = environ.get(_CONFIG_FILE, "").strip()
    path = Path(named or "pyproject.toml")
    if not path.is_file():
        if named:
            warn_once(f"setting {_CONFIG_FILE}", "%s=%s: no such file", _CONFIG_FILE, named)
        return {}
    try:
        table = _toml_table(path)
    except Exception as error:  # a broken file of the program's is not ours to fail on
        if named:
            warn_once(f"setting {_CONFIG_FILE}", "%s cannot be read: %s", path, error)
        return {}
    given = {}
    for name, value in table.items():
        if name in TABLE:
            given[name] = (f"{name} in {path.name}", value)
        elif name not in _TABLES_IN_FILE:
            _tell_unknown(f"{name} in {path.name}", name, TABLE)
    return given


def _toml_table(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # not a dependency: it is there wherever a build tool or pytest is
        import tomli as tomllib
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    table = document.get("tool", {}).get("metertap")
    if table is None:
        table = {} if path.name == "pyproject.toml" else document
    return dict(table)


def _tell_unknown(shown: str, name: str, known: Mapping[str, Any] | set[str]) -> None:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    warn_once(f"setting {shown}", "%s is not a setting of metertap and is ignored%s", shown, hint)


def _with_opentelemetry(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Apply OpenTelemetry's own variables, as its specification defines them."""
    disabled_because = None
    if not settings.enabled:
        disabled_because = "PERFORMANCE_METRICS_ENABLED is false"
    elif environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        disabled_because = "OTEL_SDK_DISABLED is true"
    exporters = {
        name.strip().lower()
        for name in environ.get("OTEL_METRICS_EXPORTER", "").split(",")
        if name.strip()
    }
    endpoint = (
        environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "").strip()
        or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    )
    # An explicit list of exporters wins over an endpoint; `none` wins over everything.
    otlp_names = {"otlp", "otlp_proto_http", "otlp_proto_grpc"}
    otlp = bool(exporters & otlp_names) if exporters else bool(endpoint)
    prometheus = settings.prometheus
    if not settings.is_explicit("prometheus"):
        prometheus = bool(exporters & {"prometheus", "metertap_prometheus"})
    disabled = settings.disabled_instrumentations | _names(
        environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    )
    return replace(
        settings,
        enabled=disabled_because is None,
        disabled_because=disabled_because,
        otlp=otlp and "none" not in exporters,
        otlp_protocol=_otlp_protocol(environ, exporters, endpoint),
        prometheus=prometheus,
        disabled_instrumentations=disabled,
        resource_from_environment=_resource_attributes(environ),
    )


def _otlp_protocol(environ: Mapping[str, str], exporters: set[str], endpoint: str) -> str:
    """`http/protobuf` or `grpc`: what is named, else what the endpoint's port is known for."""
    for exporter, protocol in (("otlp_proto_http", "http/protobuf"), ("otlp_proto_grpc", "grpc")):
        if exporter in exporters:
            return protocol
    named = (
        environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "").strip()
        or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip()
    )
    default = "grpc" if urlsplit(endpoint).port == 4317 else "http/protobuf"
    if not named:
        return default
    if named in {"grpc", "http/protobuf"}:
        return named
    warn_once(
        "setting OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL=%r is neither grpc nor http/protobuf; %s is taken",
        named,
        default,
    )
    return default


def _resource_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """Keys of `OTEL_RESOURCE_ATTRIBUTES`, so that what the operator said is not overwritten."""
    pairs = (item.partition("=") for item in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


def user_runtime_directory() -> Path | None:
    """The user's runtime directory by the XDG specification, where there is one."""
    base = os.environ.get("XDG_RUNTIME_DIR", "").strip()
    return Path(base) if base else None
