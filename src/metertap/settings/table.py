"""The table of settings: names, environment variables, parsers, and what each may do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metertap.labels import encodable
from metertap.parsing import boolean, integer, names, number, text

HISTORY_VARIABLE = "METERTAP_HISTORY"
JSON_PORT = 9109
PROMETHEUS_PORT = 9108

_LONGEST_NAME = 1000
_port = integer(0, 65535)
_HOST = r"[\w.:%-]+|\[[\w.:%-]+\]"
AUTO = Path("auto")
"""The value that means a socket in the runtime folder, one for each process."""


def _service(value: object) -> str:
    """Parse the name of a service, which becomes part of everything shown and exported."""
    name = encodable(text(value))
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"at most {_LONGEST_NAME} characters are needed")
    return name


def _host(value: object) -> str:
    """Parse a name or an address to listen on; no port, and no URL."""
    host = text(value)
    if not re.fullmatch(_HOST, host):
        raise ValueError("a name or an address is needed")
    return host


def _path(value: object) -> Path:
    """Parse a path; a relative one is relative to the present working directory."""
    if isinstance(value, bytes) or "\0" in str(value):
        raise ValueError("a path is needed")
    return Path(text(value)).expanduser().absolute()


def _history(value: object) -> Path:
    """Parse the path of a history's file. Commands may read one from an address; not this."""
    if "://" in str(value):
        raise ValueError("the path of a file is needed")
    return _path(value)


def _socket(value: object) -> Path:
    return AUTO if str(value) == str(AUTO) else _path(value)


def _token(value: object) -> object:
    from metertap.settings import secret  # imported if one is set

    return secret.parse(value)


def _address(value: object) -> object:
    from metertap.settings import address  # imported if one is set

    return address.parse(value)


# keyword → (environment variable, parser). Reading, warnings and `doctor` use this table. In the
# file, names are the keywords.
TABLE: dict[str, tuple[str, Callable[[object], Any]]] = {
    "enabled": ("PERFORMANCE_METRICS_ENABLED", boolean),
    "window_size": ("METRICS_WINDOW_SIZE", integer(2, 1_000_000)),
    "json_endpoint": ("METRICS_JSON_ENDPOINT_ENABLED", boolean),
    "json_port": ("METRICS_JSON_PORT", _port),
    "json_host": ("METRICS_JSON_HOST", _host),
    "announce": ("METERTAP_ANNOUNCE", boolean),
    "weight": ("METERTAP_WEIGHT", boolean),
    "context_window": ("METERTAP_CONTEXT_WINDOW", integer(1, 1_000_000_000)),
    "prometheus": ("PROMETHEUS_ENABLED", boolean),
    "prometheus_port": ("PROMETHEUS_PORT", _port),
    "prometheus_host": ("PROMETHEUS_HOST", _host),
    "series_limit": ("METERTAP_SERIES_LIMIT", integer(1, 10_000_000)),
    "allowed_hosts": ("METERTAP_ALLOWED_HOSTS", names),
    "json_socket": ("METRICS_JSON_SOCKET", _socket),
    "prometheus_socket": ("PROMETHEUS_SOCKET", _socket),
    "token": ("METERTAP_TOKEN", _token),
    "token_file": ("METERTAP_TOKEN_FILE", _path),
    "tls_certfile": ("METERTAP_TLS_CERTFILE", _path),
    "tls_keyfile": ("METERTAP_TLS_KEYFILE", _path),
    "tls_client_cafile": ("METERTAP_TLS_CLIENT_CAFILE", _path),
    "disabled_instrumentations": ("METERTAP_DISABLED_INSTRUMENTATIONS", names),
    "service_name": ("OTEL_SERVICE_NAME", _service),
    "alertmanager_url": ("METERTAP_ALERTMANAGER_URL", _address),
    "alert_webhook_url": ("METERTAP_ALERT_WEBHOOK_URL", _address),
    "alert_every": ("METERTAP_ALERT_EVERY", number(0.1, 3600, "seconds")),
    "history": (HISTORY_VARIABLE, _history),
    "history_size": ("METERTAP_HISTORY_SIZE", integer(1, 1_000_000)),
    "cost_repeats": ("METERTAP_COST_REPEATS", boolean),
}
KEYWORDS = (*TABLE, "meter_provider")
"""Keywords of `metertap.instrument`. The last is an object for the pipeline, and no setting."""
SECRET = frozenset({"alertmanager_url", "alert_webhook_url", "token"})
"""Settings whose value may contain credentials: an unusable one is not shown."""
ACCESS = (
    *("json_socket", "prometheus_socket", "token", "token_file"),
    *("tls_certfile", "tls_keyfile", "tls_client_cafile"),
)
"""Settings that restrict access: if one is unusable, no endpoint opens."""
HARMLESS = frozenset(
    {
        "enabled",
        "window_size",
        "json_endpoint",
        "json_port",
        "announce",
        "weight",
        "context_window",
        "prometheus_port",
        "series_limit",
        "disabled_instrumentations",
        "service_name",
        "alert_every",
    }
)
"""Settings that count in any file that is found."""
IN_ALERTS_TABLE = {
    "alertmanager": "alertmanager_url",
    "webhook": "alert_webhook_url",
    "every": "alert_every",
}
"""Keys of `[tool.metertap.alerts]` that are no thresholds, and their settings."""
RUN_CHILDREN = "METERTAP_RUN_CHILDREN"
"""The variable by which `metertap run --children` has child processes measured, too."""
TABLES_IN_FILE = ("tools", "caches", "prices", "fees")
ALERTS = "alerts"
"""The table of thresholds in the file; some of its keys are settings."""
