"""The documents of a running process, as far as commands read them, and the check that they are.

A document comes from another process: of an older or newer metertap, or of a program that only
happens to listen there. What has passed `read` has the types that are declared here, so that no
command has to look again.
"""

from __future__ import annotations

import functools
import json
import types
from typing import Any, Literal, TypedDict, TypeVar, Union, get_args, get_origin, get_type_hints

_LARGEST = 2**53
"""The largest number that every reader of JSON takes for the same one (RFC 8259)."""


class Malformed(ValueError):
    """A text that is no document of the wanted kind; the message says where it is wrong."""


# The metrics document: `GET /metrics`, described by exporters/metertap_exporters/schema.json.


class Latencies(TypedDict):
    """Latencies of some of a tool's calls, in milliseconds."""

    calls: int
    avg_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None


class ByCache(TypedDict):
    """Latencies of calls of which every lookup hit, and of those of which one missed."""

    all_hit: Latencies
    missed: Latencies


class Tool(TypedDict):
    """Figures of one tool."""

    source: str
    method: Literal["exact", "estimate"]
    total_calls: int
    successful_calls: int
    failed_calls: int
    cancelled_calls: int | None
    caller_errors: int | None
    outcomes: dict[str, int] | None
    success_rate: float | None
    avg_latency_ms: float | None
    min_latency_ms: float | None
    max_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    extrapolated: list[str]
    window_samples: int | None
    active_calls: int | None
    error_types: dict[str, int]
    last_call_timestamp: float | None
    with_cache: ByCache | None
    first_item: Latencies | None


class Lookups(TypedDict):
    """Lookups of one tool in a cache."""

    hits: int
    misses: int
    hit_rate: float | None


class Cache(TypedDict):
    """Figures of one cache."""

    system: str
    hits: int
    misses: int
    total_requests: int
    hit_rate: float | None
    evictions: int | None
    size_rejections: int | None
    entries: int | None
    by_tool: dict[str, Lookups] | None


class Operation(TypedDict):
    """Figures of the MCP requests of one method and name, as one side saw them."""

    side: Literal["server", "client"]
    method: str
    name: str | None
    total_calls: int
    failed_calls: int
    success_rate: float | None
    avg_latency_ms: float | None
    min_latency_ms: float | None
    max_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    extrapolated: list[str]
    window_samples: int
    error_types: dict[str, int]
    last_call_timestamp: float | None


class Session(TypedDict):
    """Figures of the MCP sessions of one side that have ended."""

    side: Literal["server", "client"]
    ended_sessions: int
    failed_sessions: int
    max_duration_ms: float | None
    p50_duration_ms: float | None
    p95_duration_ms: float | None
    p99_duration_ms: float | None
    extrapolated: list[str]
    error_types: dict[str, int]


class ProcessUse(TypedDict):
    """CPU time and memory that the process uses."""

    cpu_seconds: float
    resident_bytes: int | None


class System(TypedDict):
    """Figures of the process as a whole."""

    active_sessions: int
    concurrent_requests: int
    total_requests: int
    start_time: float
    uptime_seconds: float
    process: ProcessUse


class Service(TypedDict, total=False):
    """Name, version and instance of the program, as it calls itself."""

    name: str
    version: str
    instance_id: str


class Alert(TypedDict):
    """An alert that the process itself raised."""

    severity: str
    state: str
    since: float
    summary: str


class _Always(TypedDict):
    enabled: bool
    service: Service
    tool_metrics: dict[str, Tool]
    cache_metrics: dict[str, Cache]
    system_metrics: System


class Document(_Always, total=False):
    """The metrics document. Older processes have no alerts, operations or sessions."""

    operations: list[Operation]
    sessions: list[Session]
    alerts: list[Alert] | None


# The report: `GET /doctor`, made by metertap.runtime.diagnosis.


class SettingReport(TypedDict):
    """One setting, and who set it."""

    value: Any
    variable: str
    source: str


class PatchReport(TypedDict):
    """The state of the patches of one module."""

    module: str
    state: str
    bound: list[str]
    problem: str | None


class _LibraryAlways(TypedDict):
    library: str
    version: str | None
    state: str
    problem: str | None
    patches: list[PatchReport]


class LibraryReport(_LibraryAlways, total=False):
    """What is measured of one library."""

    unverified: list[str]


class _CacheAlways(TypedDict):
    name: str
    system: str
    how: Literal["read", "patched", "by hand"]
    unsupported: list[str]


class CacheReport(_CacheAlways, total=False):
    """The way in which the figures of one cache are obtained."""

    objects: int


class ReaderReport(TypedDict):
    """A reader of the provider, and who added it."""

    reader: str
    added_by: str


class EndpointReport(TypedDict):
    """The address of an endpoint, or the reason why it has none."""

    name: str
    url: str | None
    problem: str | None


class ProcessMetricsReport(TypedDict):
    """The state of the process's own metrics, and the library that records them."""

    library: str
    version: str | None
    state: str
    problem: str | None
    metrics: list[str]


class Limits(TypedDict, total=False):
    """Thresholds of alerts."""

    error_rate: float | None
    p95_seconds: float | None
    success_objective: float | None
    hit_rate: float | None
    tools: dict[str, Any]
    caches: dict[str, Any]


class Thresholds(Limits, total=False):
    """Thresholds of all alerts: of tools, of caches, and of both."""

    tool: Limits
    cache: Limits


class ReceiverReport(TypedDict):
    """A receiver of alerts, and its last delivery."""

    receiver: str
    url: str
    last_delivery: float | None
    problem: str | None


class AlertsReport(TypedDict):
    """The thresholds and the receivers of alerts."""

    every_seconds: float
    running: bool
    thresholds: Thresholds
    receivers: list[ReceiverReport]


class _ReportAlways(TypedDict):
    version: str
    python: str
    disabled_because: str | None
    service: Service
    settings: dict[str, SettingReport]
    instrumentations: list[LibraryReport]
    provider: str | None
    recording_paths: list[str]
    readers: list[ReaderReport]
    endpoints: list[EndpointReport]
    otlp: str | None
    otlp_problem: str | None
    notes: list[str]
    left_out_duplicates: dict[str, int]
    faults: dict[str, int]


class Report(_ReportAlways, total=False):
    """The report of `metertap doctor` on one process."""

    caches: list[CacheReport]
    process_metrics: ProcessMetricsReport | None
    alerts: AlertsReport | None
    broken_imports: list[str]
    listing_problem: str | None


Kind = TypeVar("Kind", Document, Report)


def read(body: bytes, kind: type[Kind]) -> Kind:
    """Return the document that `body` holds as JSON. Raises Malformed where it is none."""
    try:
        document = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Malformed("it is no JSON") from None
    _check(document, kind, "")
    checked: Kind = document
    return checked


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _check(value: Any, kind: Any, place: str) -> None:
    """Raise Malformed where `value`, found at `place`, is not of the declared type."""
    origin, arguments = _parts(kind)
    if origin is Any or (value is None and type(None) in arguments):
        return
    if origin is Union:
        _check(value, arguments[0], place)
    elif origin is TypedDict:
        _require(isinstance(value, dict), place, "is no object")
        for name, inner in arguments:
            if name in value:
                _check(value[name], inner, f"{place}.{name}" if place else name)
            else:
                _require(name not in kind.__required_keys__, place, f"has no {name}")
    elif origin is dict:
        _require(isinstance(value, dict), place, "is no object")
        for name, item in value.items():
            _check(item, arguments[1], f"{place}[{name!r}]")
    elif origin is list:
        _require(isinstance(value, list), place, "is no list")
        for item in value:
            _check(item, arguments[0], place)
    elif origin is Literal:
        _require(isinstance(value, str) and value in arguments, place, "is none of what it can be")
    else:
        _require(_is_plain(value, kind), place, f"is no {kind.__name__}")


@functools.cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what a declared type is made of; of a TypedDict each field's name and type."""
    if hasattr(kind, "__required_keys__"):
        return TypedDict, tuple(get_type_hints(kind).items())
    origin = get_origin(kind) or kind
    return Union if origin is types.UnionType else origin, get_args(kind)


def _is_plain(value: object, kind: type) -> bool:
    if kind is float or kind is int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (kind is float or isinstance(value, int)) and abs(value) <= _LARGEST
    return isinstance(value, kind)


def _require(holds: bool, place: str, otherwise: str) -> None:
    if not holds:
        raise Malformed(f"{place or 'it'} {otherwise}")
