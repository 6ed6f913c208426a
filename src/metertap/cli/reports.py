"""The report of `metertap doctor` on a running process: `GET /doctor`.

`metertap.runtime.diagnosis` makes it.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from metertap.tables.document import Service, Worker


class SettingReport(TypedDict):
    """One setting, and where its value comes from."""

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
    """The state of one library's instrumentation; `kind` is tools, models, caches or the like."""

    unverified: list[str]
    kind: str


class _CacheAlways(TypedDict):
    name: str
    system: str
    how: Literal["read", "patched", "by hand"]
    unsupported: list[str]


class CacheReport(_CacheAlways, total=False):
    """The way in which the figures of one cache are obtained."""

    objects: int


class DecoratedReport(TypedDict):
    """One function that is decorated as a tool, and how often the process called it."""

    name: str
    file: str
    line: int
    calls: int


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


class HistoryReport(TypedDict):
    """The file of the history, and the time at which it was last written."""

    file: str
    last_write: float | None
    waiting_intervals: int
    problem: str | None


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

    refused_settings: list[str]
    caches: list[CacheReport]
    decorated_tools: list[DecoratedReport]
    process_metrics: ProcessMetricsReport | None
    alerts: AlertsReport | None
    history: HistoryReport | None
    workers: list[Worker]
    ended_workers: int
    killed_workers: int
    calls_of_all_workers: dict[str, int]
    broken_imports: list[str]
    listing_problem: str | None
