"""The one call: `metertap.instrument()`, with a keyword for each setting."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from metertap import faults, state
from metertap.importing import Importing
from metertap.runtime import tap
from metertap.runtime.callers import caller_of

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from metertap.runtime.tap import Tap


def instrument(
    *,
    enabled: bool | None = None,
    window_size: int | None = None,
    json_endpoint: bool | None = None,
    json_port: int | None = None,
    json_host: str | None = None,
    announce: bool | None = None,
    weight: bool | None = None,
    context_window: int | None = None,
    prometheus: bool | None = None,
    prometheus_port: int | None = None,
    prometheus_host: str | None = None,
    series_limit: int | None = None,
    allowed_hosts: Iterable[str] | None = None,
    json_socket: str | Path | None = None,
    prometheus_socket: str | Path | None = None,
    token: str | None = None,
    token_file: str | Path | None = None,
    tls_certfile: str | Path | None = None,
    tls_keyfile: str | Path | None = None,
    tls_client_cafile: str | Path | None = None,
    disabled_instrumentations: Iterable[str] | None = None,
    service_name: str | None = None,
    alertmanager_url: str | None = None,
    alert_webhook_url: str | None = None,
    alert_every: float | None = None,
    history: str | Path | None = None,
    history_size: int | None = None,
    cost_repeats: bool | None = None,
    meter_provider: MeterProvider | None = None,
    **unknown: NoReturn,
) -> Tap:
    """Measure every tool handler and every cache of this process from here on.

    It may come before or after the libraries are imported, and every call in the application
    returns the same tap. With keywords it never raises: a setting that cannot be used is one
    warning, and so is a keyword that does not exist. It takes no positional arguments; for those
    Python raises TypeError. Any thread may call it.

    The first call of the application decides the settings, and replaces those that a library's call
    had decided before it. What another call asks for otherwise is one warning.

    A keyword that is not given, or is None, is taken from the environment variable named with it,
    then from `[tool.metertap]` of the configuration file, then from the default.

    Args:
        enabled: Whether to measure at all. Default True, PERFORMANCE_METRICS_ENABLED.
        window_size: Calls of a tool that its percentiles are of, the last ones. Default 1000,
            METRICS_WINDOW_SIZE.
        json_endpoint: Whether to serve the live page and the JSON document. Default True,
            METRICS_JSON_ENDPOINT_ENABLED.
        json_port: Port of that endpoint; 0 is any free one. Default 9109, METRICS_JSON_PORT.
        json_host: Address that it listens on. Default "127.0.0.1", METRICS_JSON_HOST.
        announce: Whether to write one line on stderr that says where the page is, with the first
            tool or cache. Default True, METERTAP_ANNOUNCE.
        weight: Whether to record how large tools' results and definitions are. Default True,
            METERTAP_WEIGHT.
        context_window: Tokens that a model takes at once; weights are shown as a share of them.
            Default 200000, METERTAP_CONTEXT_WINDOW.
        prometheus: Whether to serve Prometheus. Default False, PROMETHEUS_ENABLED.
        prometheus_port: Port of that endpoint; 0 is any free one. Default 9108, PROMETHEUS_PORT.
        prometheus_host: Address that it listens on. Default "127.0.0.1", PROMETHEUS_HOST.
        series_limit: Series of one metric; what is beyond them is counted together. Default 2000,
            METERTAP_SERIES_LIMIT.
        allowed_hosts: Names that may stand in the header `Host` where an endpoint does not listen
            on loopback. Default (), METERTAP_ALLOWED_HOSTS.
        json_socket: Path of a Unix socket that the page and the document are served at, in place of
            the port; "auto" is one for each process, which the command line finds. Default None,
            METRICS_JSON_SOCKET.
        prometheus_socket: The same for Prometheus. Default None, PROMETHEUS_SOCKET.
        token: What a client of the endpoints must show. Default None, METERTAP_TOKEN.
        token_file: File that holds the token; it may be written again at any time. Default None,
            METERTAP_TOKEN_FILE.
        tls_certfile: Certificate chain of the endpoints, as PEM: they speak TLS. Default None,
            METERTAP_TLS_CERTFILE.
        tls_keyfile: Its key, where that is not in the same file. Default None,
            METERTAP_TLS_KEYFILE.
        tls_client_cafile: Authorities one of which must have signed a client's certificate.
            Default None, METERTAP_TLS_CLIENT_CAFILE.
        disabled_instrumentations: Libraries that are not to be patched. Default (),
            METERTAP_DISABLED_INSTRUMENTATIONS.
        service_name: What the program is called. Default: its own name, OTEL_SERVICE_NAME.
        alertmanager_url: An Alertmanager that is told of alerts. Default None,
            METERTAP_ALERTMANAGER_URL.
        alert_webhook_url: A webhook that is told of alerts. Default None,
            METERTAP_ALERT_WEBHOOK_URL.
        alert_every: Seconds between two evaluations of alerts. Default 15.0, METERTAP_ALERT_EVERY.
        history: File that keeps what was measured over days, for `metertap trends`. Default None,
            METERTAP_HISTORY.
        history_size: Megabytes that the file may grow to; then the oldest goes. Default 512,
            METERTAP_HISTORY_SIZE.
        cost_repeats: Whether to keep salted hashes of what models and caches are asked, to see
            which tools ask the same again, and what size a cache needs. Default False,
            METERTAP_COST_REPEATS.
        meter_provider: The provider to record to. Default: the global one of OpenTelemetry.
        unknown: Any other keyword has no effect, and is one warning.

    Returns:
        The tap: `snapshot()` is the document, `shutdown()` undoes everything, whichever line of the
        application called this. Where a library called it too, measuring goes on for that one, and
        a warning says so.
    """
    asked = dict(locals())
    try:
        asked |= asked.pop("unknown")
        given = {name: value for name, value in asked.items() if value is not None}
        caller = caller_of(sys._getframe(1))
        with Importing():  # more is imported
            return tap.hold(caller, given)
    except Exception as error:  # the program runs unmeasured
        from metertap import unavailable

        if isinstance(error, ImportError):  # said already, where a name was imported before
            unavailable.tell(error)
        else:
            faults.fault("instrument", error)
        with faults.guarded("instrument"):
            state.stop()
        return cast("Tap", unavailable.Tap())
