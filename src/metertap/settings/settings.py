"""Settings: all of them are read here, once, into a frozen object.

Keyword > environment > file > default. An unusable value is one warning that names the setting, the
value and what is used instead; it is never an exception.

Of a file that is just in the working directory, only settings count that cannot reveal, send or
open anything (`HARMLESS`): its author need not be the one who started the program.
"""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metertap.faults import guarded, shown
from metertap.interpreters import is_subinterpreter
from metertap.parsing import money
from metertap.settings import config_file, otel_variables
from metertap.settings.config_file import ConfigFile
from metertap.settings.given import from_environment, from_file, from_keywords
from metertap.settings.otel_variables import OtelVariables
from metertap.settings.table import (
    ACCESS,
    ALERTS,
    HARMLESS,
    HISTORY_VARIABLE,
    JSON_PORT,
    PROMETHEUS_PORT,
    RUN_CHILDREN,
    SECRET,
    TABLE,
    TABLES_IN_FILE,
)
from metertap.settings.telling import unusable, warn_once

if TYPE_CHECKING:
    from decimal import Decimal

    from metertap.settings.address import Address
    from metertap.settings.secret import Secret

_EMPTY: Mapping[str, Any] = {}


class Settings(NamedTuple):
    """The validated settings of one process; `sources` names the origin of each that was given."""

    enabled: bool = True
    window_size: int = 1000
    json_endpoint: bool = True
    json_port: int = JSON_PORT
    json_host: str = "127.0.0.1"
    announce: bool = True
    """Whether the page's address is printed on stderr."""
    weight: bool = True
    """Whether the sizes of tools' results and definitions are recorded."""
    context_window: int = 200_000
    """Tokens that a model takes at once; weights are shown as a share of them."""
    prometheus: bool = False
    prometheus_port: int = PROMETHEUS_PORT
    prometheus_host: str = "127.0.0.1"
    series_limit: int = 2000
    allowed_hosts: frozenset[str] = frozenset()
    json_socket: Path | None = None
    """A Unix socket instead of the port; `AUTO` is one in the runtime folder."""
    prometheus_socket: Path | None = None
    token: "Secret | None" = None
    """The token that a client of the endpoints must send."""
    token_file: Path | None = None
    """The file with the token."""
    tls_certfile: Path | None = None
    """The certificate chain that the endpoints show, as PEM."""
    tls_keyfile: Path | None = None
    tls_client_cafile: Path | None = None
    """Authorities, one of which must have signed a client's certificate."""
    access_problem: str | None = None
    """The reason why no endpoint may open: a setting that restricts access is unusable."""
    disabled_instrumentations: frozenset[str] = frozenset()
    disabled_by_opentelemetry: frozenset[str] = frozenset()
    """Names in `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`, including those of other packages."""
    service_name: str | None = None
    alertmanager_url: "Address | None" = None
    alert_webhook_url: "Address | None" = None
    alert_every: float = 15.0
    """Seconds between two evaluations of alerts."""
    history: Path | None = None
    """The file that keeps what was measured."""
    history_size: int = 512
    """The most megabytes of that file."""
    alerts: Mapping[str, Any] | None = None
    """Thresholds of `[tool.metertap.alerts]`, as written; None without that table."""
    caches: Mapping[str, Any] = _EMPTY
    """Lines of `[tool.metertap.caches]`, as written."""
    tools: Mapping[str, Any] = _EMPTY
    """Lines of `[tool.metertap.tools]`."""
    prices: Mapping[str, Any] = _EMPTY
    """Prices of models in `[tool.metertap.prices]`, as written."""
    fees: Mapping[str, Any] = _EMPTY
    """USD that each call of a tool costs, by the tool's name: `[tool.metertap.fees]`."""
    cost_repeats: bool = False
    """Whether salted hashes of model requests are kept, to find repeated ones."""
    otlp: bool = False
    otlp_protocol: str = "http/protobuf"
    export_interval_seconds: float | None = None
    """Time between two exports over OTLP, if the operator set it."""
    excluded_process_metrics: frozenset[str] = frozenset()
    """Patterns of names of process metrics that are not to be recorded."""
    disabled_because: str | None = None
    run_children: bool = False
    """Whether `metertap run` measures the program's child processes, with the same settings."""
    resource_from_environment: Mapping[str, str] = _EMPTY
    sources: Mapping[str, str] = _EMPTY
    refused: tuple[str, ...] = ()
    """Unusable settings, each with the reason."""

    @property
    def has_alerts(self) -> bool:
        """Whether thresholds or receivers of alerts are configured."""
        told = (self.alertmanager_url, self.alert_webhook_url)
        return self.alerts is not None or any(address is not None for address in told)

    def is_like(self, other: "Settings") -> bool:
        """Return whether both have the same values, whatever was unusable."""
        return self._replace(refused=()) == other._replace(refused=())

    def is_disabled(self, instrumentation: str) -> bool:
        """Return whether the instrumentation of that name is disabled, by its name or by `*`."""
        disabled = self.disabled_instrumentations | self.disabled_by_opentelemetry
        return not {instrumentation, "*"}.isdisjoint(disabled)

    def is_explicit(self, name: str) -> bool:
        """Return whether the value of the setting `name` was given, and is not the default."""
        return name in self.sources


class _NotShown:
    def __repr__(self) -> str:
        return "(not shown)"


_NOT_SHOWN = _NotShown()


def read(
    options: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read every setting. Never raises."""
    environ = os.environ if environ is None else environ
    file = config_file.read(environ.get(config_file.VARIABLE, "").strip())
    table = file.table if file.is_programs else _harmless(file)
    otel = OtelVariables()
    with guarded("settings.opentelemetry"):
        otel = otel_variables.read(environ)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    refused: list[str] = []
    kept_out = {
        name: f"{name} in {file.name} is ignored"
        for name in ACCESS
        if name in file.table.keys() - table.keys()
    }
    for source, given in (
        ("file", from_file(file.name, table, refused)),
        ("environment", from_environment(environ, refused)),
        ("keyword", from_keywords(options or {}, refused)),
    ):
        for name, (shown_name, raw) in given.items():
            try:
                values[name] = TABLE[name][1](raw)
                sources[name] = source
                kept_out.pop(name, None)
            except Exception as error:  # the object's own __str__ may raise anything
                taken = values.get(name, Settings._field_defaults[name])
                why = shown(error, str)
                if name in ACCESS:
                    kept_out[name] = f"{shown_name} cannot be used ({why})"
                    continue
                told = _NOT_SHOWN if name in SECRET else raw
                refused.append(unusable(shown_name, told, why, taken))
    disabled_because = None
    if not values.get("enabled", True):
        variable = TABLE["enabled"][0]
        by_variable = sources["enabled"] == "environment"
        disabled_because = f"{variable if by_variable else 'enabled'} is false"
    elif otel.is_sdk_disabled:
        disabled_because = "OTEL_SDK_DISABLED is true"
    elif is_subinterpreter():  # a subinterpreter cannot end while threads of ours run
        disabled_because = "nothing is measured in a subinterpreter"
        warn_once("subinterpreter", disabled_because)
    values["enabled"] = disabled_because is None
    values.setdefault("prometheus", otel.prometheus)
    return Settings(
        **values,
        alerts=_lines(file.name, ALERTS, table[ALERTS]) if ALERTS in table else None,
        caches=_lines(file.name, "caches", table.get("caches", {})),
        tools=_lines(file.name, "tools", table.get("tools", {})),
        prices=_lines(file.name, "prices", table.get("prices", {})),
        fees=_fees(file.name, _lines(file.name, "fees", table.get("fees", {})), refused),
        otlp=otel.otlp,
        otlp_protocol=otel.otlp_protocol,
        export_interval_seconds=otel.export_interval_seconds,
        excluded_process_metrics=otel.excluded_process_metrics,
        disabled_by_opentelemetry=otel.disabled_instrumentations,
        access_problem=_access_problem(values, kept_out),
        disabled_because=disabled_because,
        run_children=bool(environ.get(RUN_CHILDREN)),
        resource_from_environment=otel.resource_attributes,
        sources=sources,
        refused=(*refused, *otel.refused),
    )


def _access_problem(values: Mapping[str, Any], kept_out: Mapping[str, str]) -> str | None:
    """Warn once why no endpoint may open: a protected one must not be open by mistake."""
    problem = next(iter(kept_out.values()), None)
    if problem is None and "token" in values and "token_file" in values:
        problem = f"{TABLE['token'][0]} and {TABLE['token_file'][0]} are both set"
    for name in ("tls_keyfile", "tls_client_cafile"):
        if problem is None and name in values and "tls_certfile" not in values:
            problem = f"{TABLE[name][0]} is set without {TABLE['tls_certfile'][0]}"
    if problem is not None:
        warn_once(f"access {problem}", "%s: no endpoint opens", problem)
    return problem


def _harmless(file: ConfigFile) -> Mapping[str, Any]:
    """Return the table without settings that may reveal, send or open, and warn once of those."""
    ours = {*TABLE, *TABLES_IN_FILE, ALERTS}
    ignored = sorted((file.table.keys() & ours) - HARMLESS)
    if ignored:
        warn_once(
            "configuration file ignored",
            "%s in %s is ignored, because the program's own code does not lie in that folder; "
            "%s=%s makes the file count",
            ", ".join(ignored),
            shown(file.path.absolute(), str),
            config_file.VARIABLE,
            shown(file.path.absolute(), str),
        )
    return {name: value for name, value in file.table.items() if name not in ignored}


def _lines(file: str, name: str, given: object) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    unusable(f"{name} in {file}", given, "a table is needed", {})
    return {}


def _fees(file: str, table: Mapping[str, Any], refused: list[str]) -> dict[str, "Decimal"]:
    found = {}
    for tool, value in table.items():
        try:
            found[tool] = money(value)
        except ValueError as error:
            refused.append(unusable(f"fees.{tool} in {file}", value, str(error), None))
    return found


def config_file_named() -> str:
    """Return the path in `METERTAP_CONFIG`; empty if no file is named."""
    return os.environ.get(config_file.VARIABLE, "").strip()


def history_named() -> str:
    """Return the file or address that `METERTAP_HISTORY` names; empty if it is not set."""
    return os.environ.get(HISTORY_VARIABLE, "").strip()
