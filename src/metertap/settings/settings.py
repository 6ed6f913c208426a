"""Settings: read once, in this one place, into a frozen object.

Keyword > environment > file > default. A value that cannot be used is one warning that names the
setting, the value and what is taken instead; it is never an exception.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from metertap.faults import guarded, shown, warn_once
from metertap.settings import address, config_file, otel_variables
from metertap.settings.address import Address
from metertap.settings.otel_variables import OtelVariables
from metertap.settings.values import boolean, integer, names, seconds, tell_unusable, text

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
    alertmanager_url: str
    alert_webhook_url: str
    alert_every: float
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
    disabled_by_opentelemetry: frozenset[str] = frozenset()
    """Names of `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`: other packages' among them."""
    service_name: str | None = None
    alertmanager_url: Address | None = None
    alert_webhook_url: Address | None = None
    alert_every: float = 15.0
    """Seconds between two evaluations of alerts."""
    alerts: Mapping[str, Any] | None = None
    """Thresholds of `[tool.metertap.alerts]`, as they were written; None without that table."""
    caches: Mapping[str, Any] = field(default_factory=dict)
    """Lines of `[tool.metertap.caches]`, as they were written."""
    tools: Mapping[str, Any] = field(default_factory=dict)
    """Lines of `[tool.metertap.tools]`."""
    otlp: bool = False
    otlp_protocol: str = "http/protobuf"
    disabled_because: str | None = None
    resource_from_environment: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_alerts(self) -> bool:
        """Whether alerts are configured: thresholds, or somebody to be told."""
        told = (self.alertmanager_url, self.alert_webhook_url)
        return self.alerts is not None or any(address is not None for address in told)

    def is_disabled(self, instrumentation: str) -> bool:
        """Whether somebody said so of that name, or of all (`*`)."""
        disabled = self.disabled_instrumentations | self.disabled_by_opentelemetry
        return not {instrumentation, "*"}.isdisjoint(disabled)

    def is_explicit(self, name: str) -> bool:
        """Whether somebody set `name`, as opposed to the default standing."""
        return name in self.sources


_port = integer(0, 65535)

# keyword → (environment variable, parser). The table drives reading, warnings and `doctor`.
# In the file the names are the keywords'.
TABLE: dict[str, tuple[str, Callable[[object], Any]]] = {
    "enabled": ("PERFORMANCE_METRICS_ENABLED", boolean),
    "window_size": ("METRICS_WINDOW_SIZE", integer(2, 1_000_000)),
    "json_endpoint": ("METRICS_JSON_ENDPOINT_ENABLED", boolean),
    "json_port": ("METRICS_JSON_PORT", _port),
    "json_host": ("METRICS_JSON_HOST", text),
    "prometheus": ("PROMETHEUS_ENABLED", boolean),
    "prometheus_port": ("PROMETHEUS_PORT", _port),
    "prometheus_host": ("PROMETHEUS_HOST", text),
    "series_limit": ("METERTAP_SERIES_LIMIT", integer(1, 10_000_000)),
    "allowed_hosts": ("METERTAP_ALLOWED_HOSTS", names),
    "disabled_instrumentations": ("METERTAP_DISABLED_INSTRUMENTATIONS", names),
    "service_name": ("OTEL_SERVICE_NAME", text),
    "alertmanager_url": ("METERTAP_ALERTMANAGER_URL", address.parse),
    "alert_webhook_url": ("METERTAP_ALERT_WEBHOOK_URL", address.parse),
    "alert_every": ("METERTAP_ALERT_EVERY", seconds(0.1, 3600)),
}
_SECRET = frozenset({"alertmanager_url", "alert_webhook_url"})
"""An address may hold credentials: what cannot be used of these is not shown."""
_IN_ALERTS_TABLE = {
    "alertmanager": "alertmanager_url",
    "webhook": "alert_webhook_url",
    "every": "alert_every",
}
"""What `[tool.metertap.alerts]` holds beside thresholds."""
_OTHER_VARIABLES = frozenset({config_file.VARIABLE, "METERTAP_RUN_CHILDREN"})
_PREFIX = "METERTAP_"
_SHARED_PREFIXES = ("METRICS_", "PROMETHEUS_", "PERFORMANCE_METRIC")
"""Other programs' variables begin so too: only what is nearly one of ours is told of."""
_NOT_VALUES = frozenset({"meter_provider"})  # an object for the pipeline, not a setting
_TABLES_IN_FILE = ("tools", "caches")
_ALERTS = "alerts"


class _NotShown:
    def __repr__(self) -> str:
        return "(not shown)"


_NOT_SHOWN = _NotShown()

_Given = dict[str, tuple[str, object]]
"""By keyword: the name under which it was set, and the value as it was given."""


def read(
    options: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read every setting. Never raises."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    file, table = config_file.read(environ.get(config_file.VARIABLE, "").strip())
    for source, given in (
        ("file", _from_file(file, table)),
        ("environment", _from_environment(environ)),
        ("keyword", _from_keywords(options or {})),
    ):
        for name, (shown_name, raw) in given.items():
            try:
                values[name] = TABLE[name][1](raw)
                sources[name] = source
            except Exception as error:  # an object's own __str__ may raise anything
                taken = values.get(name, Settings.__dataclass_fields__[name].default)
                told = _NOT_SHOWN if name in _SECRET else raw
                tell_unusable(shown_name, told, shown(error, str), taken)
    alerts = _lines(file, _ALERTS, table[_ALERTS]) if _ALERTS in table else None
    tools, caches = (_lines(file, name, table.get(name, {})) for name in _TABLES_IN_FILE)
    settings = Settings(**values, alerts=alerts, tools=tools, caches=caches, sources=sources)
    with guarded("settings.opentelemetry"):
        return _with_opentelemetry(settings, otel_variables.read(environ))
    return settings


def _from_keywords(options: Mapping[str, Any]) -> _Given:
    given: _Given = {}
    for name, value in options.items():
        if name in TABLE:
            if value is not None:
                given[name] = (name, value)
        elif name not in _NOT_VALUES:
            _tell_unknown(f"instrument({name}=…)", name, {*TABLE, *_NOT_VALUES})
    return given


def _from_environment(environ: Mapping[str, str]) -> _Given:
    # An empty variable is an unset one: OpenTelemetry's rule for its own variables.
    given: _Given = {
        name: (variable, environ[variable])
        for name, (variable, _) in TABLE.items()
        if environ.get(variable, "").strip()
    }
    known = {variable for variable, _ in TABLE.values()} | _OTHER_VARIABLES
    for variable in environ:
        nearly_ours = variable.startswith(_SHARED_PREFIXES) and _nearest(variable, known, 0.9)
        if variable not in known and (variable.startswith(_PREFIX) or nearly_ours):
            _tell_unknown(variable, variable, known)
    return given


def _from_file(file: str, table: Mapping[str, Any]) -> _Given:
    given: _Given = {}
    for name, value in table.items():
        if name in TABLE:
            given[name] = (f"{name} in {file}", value)
        elif name not in (*_TABLES_IN_FILE, _ALERTS):
            _tell_unknown(f"{name} in {file}", name, {*TABLE, *_TABLES_IN_FILE, _ALERTS})
    alerts = table.get(_ALERTS)
    if isinstance(alerts, Mapping):
        for key, name in _IN_ALERTS_TABLE.items():
            if key in alerts:
                given[name] = (f"{_ALERTS}.{key} in {file}", alerts[key])
    return given


def _lines(file: str, name: str, given: object) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    tell_unusable(f"{name} in {file}", given, "a table is needed", {})
    return {}


def _tell_unknown(shown_name: str, name: str, known: Collection[str]) -> None:
    keyword = name.removeprefix(_PREFIX).lower()
    near = TABLE[keyword][0] if name != keyword and keyword in TABLE else _nearest(name, known)
    hint = f"; did you mean {near}?" if near else ""
    warn_once(
        f"setting {shown_name}", "%s is no setting of metertap and is ignored%s", shown_name, hint
    )


def _nearest(name: str, known: Collection[str], likeness: float = 0.6) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=likeness)), None)


def _with_opentelemetry(settings: Settings, theirs: OtelVariables) -> Settings:
    disabled_because = None
    if not settings.enabled:
        variable = TABLE["enabled"][0]
        by_variable = settings.sources["enabled"] == "environment"
        disabled_because = f"{variable if by_variable else 'enabled'} is false"
    elif theirs.is_sdk_disabled:
        disabled_because = "OTEL_SDK_DISABLED is true"
    by_us = settings.is_explicit("prometheus")
    return replace(
        settings,
        enabled=disabled_because is None,
        disabled_because=disabled_because,
        otlp=theirs.otlp,
        otlp_protocol=theirs.otlp_protocol,
        prometheus=settings.prometheus if by_us else theirs.prometheus,
        disabled_by_opentelemetry=theirs.disabled_instrumentations,
        resource_from_environment=theirs.resource_attributes,
    )


def user_runtime_directory() -> Path | None:
    """The user's runtime directory by the XDG specification, where there is one."""
    base = os.environ.get("XDG_RUNTIME_DIR", "").strip()
    return Path(base) if base else None
