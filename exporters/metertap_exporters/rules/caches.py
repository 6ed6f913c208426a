"""Alerts of caches: those that do not help."""

from __future__ import annotations

from metertap.alerts.thresholds import WARNING, Thresholds
from metertap.text import number, prometheus_duration
from metertap_exporters import promql
from metertap_exporters.rules import recording
from metertap_exporters.rules.model import Alert, percent, variants


def alerts(thresholds: Thresholds) -> list[Alert]:
    """Every alert of this kind."""
    window = thresholds.window_seconds
    ratio, lookups = recording.hit_ratio(window), recording.lookups(window)
    return [
        Alert(
            "MetertapLowHitRate",
            f"{ratio}{variant.matchers} < {number(cache.hit_rate)}\n"
            f"and {lookups}{variant.matchers} * {window} >= {cache.minimum_lookups}",
            cache.for_seconds,
            WARNING,
            f"Cache {{{{ $labels.{promql.CACHE} }}}} of {{{{ $labels.job }}}} hardly helps",
            f"{{{{ $value | humanizePercentage }}}} of its lookups in the last "
            f"{prometheus_duration(window)} hit; the threshold is {percent(cache.hit_rate)}.",
            variant.labels,
        )
        for variant, cache in variants(
            promql.CACHE, thresholds.cache, thresholds.caches, lambda cache: cache
        )
        if cache.hit_rate is not None
    ]
