"""Alerts of processes: gone, past a limit of series, and the meter's own faults."""

from __future__ import annotations

from metertap.alerts.thresholds import CRITICAL, WARNING, Thresholds
from metertap.text import prometheus_duration
from metertap_exporters import promql
from metertap_exporters.promql import quoted, selector
from metertap_exporters.rules.model import Alert, literal

_INSTANCE = "{{ $labels.instance }} of {{ $labels.job }}"
_RECENT = 900


def alerts(thresholds: Thresholds) -> list[Alert]:
    """Every alert of this kind."""
    hold = thresholds.tool.for_seconds
    made = []
    for job in thresholds.jobs:
        up = selector("up", f"job={quoted(job)}")
        made += [
            Alert(
                "MetertapProcessDown",
                f"{up} == 0",
                hold,
                CRITICAL,
                f"Process {_INSTANCE} does not answer",
                "Prometheus cannot scrape it: it has ended, hangs, or cannot be reached.",
                {"job": literal(job)},
            ),
            Alert(
                "MetertapProcessAbsent",
                f"absent({up})",
                hold,
                CRITICAL,
                "No process of {{ $labels.job }} is there",
                "Prometheus has no target of this job.",
                {"job": literal(job)},
            ),
        ]
    if thresholds.overflow:
        made.append(_overflow(hold))
    if thresholds.meter_faults:
        made.append(_faults())
    return made


def _overflow(hold: int) -> Alert:
    past = selector("", promql.OVERFLOW, '__name__!~".+_(bucket|sum)"')
    calls = selector(f"{promql.DURATION}_count", f'{promql.TOOL}="_OTHER"', promql.COUNTED)
    lookups = selector(promql.CACHE_REQUESTS, f'{promql.CACHE}="_OTHER"')
    return Alert(
        "MetertapSeriesOverflow",
        f"count by (job, instance) ({past} or {calls} > 0 or {lookups} > 0)",
        hold,
        WARNING,
        f"Names or series of {_INSTANCE} are past a limit",
        "Figures of {{ $value }} series stand under otel_metric_overflow or _OTHER instead of "
        "their own name.",
    )


def _faults() -> Alert:
    total = f"sum by (job, instance, {promql.PLACE})"
    earlier = f"{total} ({promql.FAULTS} offset {prometheus_duration(_RECENT)})"
    now = f"{total} ({promql.FAULTS})"
    # Not by increase(): a fault that happens once makes a series that begins with 1.
    return Alert(
        "MetertapMeterFaults",
        f"{now} - ({earlier} or 0 * {now}) > 0",
        0,
        WARNING,
        f"metertap itself has faults in {_INSTANCE}",
        f"{{{{ $value }}}} in the last {prometheus_duration(_RECENT)} "
        f"at {{{{ $labels.{promql.PLACE} }}}}. The program is not disturbed; "
        "some figures may be missing.",
    )
