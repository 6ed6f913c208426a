"""PromQL for metertap's metrics: their names in Prometheus, outcomes that count, and quoting.

The names are what OpenTelemetry's standard exporter makes of those in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable

from metertap import catalogue, outcomes


def label(attribute: str) -> str:
    """Return the label that an attribute becomes in Prometheus."""
    return attribute.replace(".", "_")


def seconds(metric: catalogue.Metric) -> str:
    """Return the name that a histogram of durations has in Prometheus."""
    return f"{label(metric.name)}_seconds"


DURATION = seconds(catalogue.TOOL_DURATION)
FIRST_ITEM = seconds(catalogue.TOOL_FIRST_ITEM)
REQUEST_DURATION = seconds(catalogue.SERVER_DURATION)
TOOL_ACTIVE = label(catalogue.TOOL_ACTIVE.name)
SESSION_ACTIVE = label(catalogue.SESSION_ACTIVE.name)
CACHE_REQUESTS = f"{label(catalogue.CACHE_REQUESTS.name)}_total"
CACHE_EVICTIONS = f"{label(catalogue.CACHE_EVICTIONS.name)}_total"
CACHE_REJECTIONS = f"{label(catalogue.CACHE_REJECTIONS.name)}_total"
CACHE_ENTRIES = label(catalogue.CACHE_ENTRIES.name)
COST = f"{label(catalogue.TOOL_COST.name)}_total"
FAILED_COST = f"{label(catalogue.TOOL_FAILED_COST.name)}_total"
MISS_COST = f"{label(catalogue.TOOL_MISS_COST.name)}_total"
LOOKUP_CALLS = f"{label(catalogue.TOOL_LOOKUP_CALLS.name)}_total"
LOOKUP_TIME = f"{seconds(catalogue.TOOL_LOOKUP_TIME)}_total"
TOKENS = label(catalogue.TOKEN_USAGE.name)
MODEL_DURATION = seconds(catalogue.MODEL_DURATION)
RESULT_SIZE = f"{label(catalogue.TOOL_RESULT_SIZE.name)}_bytes"
DEFINITION_SIZE = f"{label(catalogue.TOOL_DEFINITION_SIZE.name)}_bytes"
FAULTS = f"{label(catalogue.FAULTS.name)}_total"

TOOL = label(catalogue.TOOL_NAME)
OUTCOME = label(catalogue.OUTCOME)
ERROR_TYPE = label(catalogue.ERROR_TYPE)
CACHE = label(catalogue.CACHE_NAME)
SYSTEM = label(catalogue.CACHE_SYSTEM)
PROVIDER = label(catalogue.PROVIDER_NAME)
MODEL = label(catalogue.RESPONSE_MODEL)
REQUESTED = label(catalogue.REQUEST_MODEL)
KIND_OF_TOKEN = label(catalogue.TOKEN_TYPE)
PLACE = label(catalogue.FAULT_PLACE)
METHOD = label(catalogue.MCP_METHOD)
PART = label(catalogue.DEFINITION_PART)
LOOKUP = label(catalogue.CACHE_REQUEST_TYPE)

FAILED = f'{OUTCOME}=~"{"|".join(sorted(outcomes.FAILED))}"'
"""Matches calls that have failed."""
COUNTED = f'{OUTCOME}=~"{"|".join(sorted(outcomes.SAMPLED))}"'
"""Matches calls that enter rates and percentiles: ok and failed ones."""
HIT = f'{LOOKUP}="hit"'
SERVED = f'{label(catalogue.SIDE)}="{catalogue.SERVER}"'
"""Matches the weight of tools where they run, and not where a client asks for them."""
BOUNDS = "le, vmrange"
"""Labels of a bucket: `vmrange` in VictoriaMetrics that got exponential histograms."""
OVERFLOW = 'otel_metric_overflow="true"'
"""Matches the one series of a metric that holds what is past its series limit."""


def selector(metric: str, *matchers: str) -> str:
    """Select series of a metric: `metric{matchers}`."""
    return f"{metric}{{{', '.join(matchers)}}}" if matchers else metric


def quantile(share: float, metric: str, rate: Callable[[str], str], by: str = "") -> str:
    """Estimate a percentile of a histogram; `rate` makes the rate of a metric's name.

    Prometheus's native histograms come first, if there are any: their error is below 1 %.
    """
    native, classic = (
        f"histogram_quantile({share}, sum by ({labels}) ({rate(name)}))"
        for name, labels in (
            (metric, by),
            (f"{metric}_bucket", f"{by}, {BOUNDS}" if by else BOUNDS),
        )
    )
    return f"({native} or {classic})"


def at_most(estimate: str, longest: str) -> str:
    """Limit an estimated percentile to the longest call, where Prometheus has that."""
    return f"({longest} < {estimate}\nor {estimate})"


def quoted(text: str) -> str:
    """Quote `text` for PromQL and for YAML, so that nothing in it can end the string."""
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
