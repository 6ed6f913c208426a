"""Model calls and costs from an engine: the sums that a history file has of tools and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from metertap import promql
from metertap.history.answers import Subject
from metertap.history.savings import after_miss
from metertap.recording.usage_series import NO_TOOL

METRICS = (
    *(promql.COST, promql.FAILED_COST, promql.MISS_COST),
    *(promql.MODEL_DURATION, promql.TOKENS),
    *(promql.LOOKUP_CALLS, promql.LOOKUP_TIME),
)
_NO_MODEL = "unknown"
_NAMES = frozenset(
    {
        *(promql.TOOL, promql.PROVIDER, promql.MODEL),
        *(promql.REQUESTED, promql.KIND_OF_TOKEN, promql.ERROR_TYPE),
    }
)
_FEE = "fee"
"""The mark in place of a provider, for the fees of a tool's calls."""

Labels = Mapping[str, str]
Grown = Callable[[str, str, tuple[str, ...]], Iterator[tuple[Labels, float, float]]]
"""A function that returns the increase of a counter (or of a histogram's `sum` or `count`): labels,
start of the period and number. It gets the metric, the part, and the labels to separate."""


class _Model(NamedTuple):
    """A model, and the tool that called it."""

    tool: str
    provider: str
    model: str


def costs(grown: Grown) -> Iterator[tuple[Subject, Labels, float, dict[str, float]]]:
    """Yield sums of each tool and each model: the subject, its other labels, the period's start.

    The cost of a call is unknown if the provider did not report its tokens, or the model has no
    price.
    """
    told = (promql.TOOL, promql.PROVIDER, promql.MODEL)
    asked = (*told, promql.REQUESTED)
    priced = set()
    for name, metric in (("cost_usd", promql.COST), ("cost_of_failed_usd", promql.FAILED_COST)):
        for labels, at, value in grown(metric, "", told):
            of = _model(labels)
            priced.add(of)
            yield from _both(of, labels, at, {name: value})
    for labels, at, value in grown(promql.MISS_COST, "", told):
        of = _model(labels)
        yield Subject("tool", of.tool, ""), labels, at, {after_miss(of.provider, of.model): value}
    for labels, at, value in grown(promql.CACHE_REQUESTS, "", (promql.TOOL, promql.LOOKUP)):
        if tool := labels.get(promql.TOOL):
            name = "hits_in_calls" if labels.get(promql.LOOKUP) == "hit" else "misses_in_calls"
            yield Subject("tool", tool, ""), labels, at, {name: value}
    for metric, part in ((promql.LOOKUP_CALLS, "calls"), (promql.LOOKUP_TIME, "seconds")):
        for labels, at, value in grown(metric, "", (promql.TOOL, promql.LOOKUP)):
            if tool := labels.get(promql.TOOL):
                kind = "all_hit" if labels.get(promql.LOOKUP) == "hit" else "missed"
                yield Subject("tool", tool, ""), labels, at, {f"{kind}_{part}": value}
    for labels, at, value in grown(promql.TOKENS, "sum", (*asked, promql.KIND_OF_TOKEN)):
        kind = f"{labels.get(promql.KIND_OF_TOKEN)}_tokens"
        yield from _both(_model(labels), labels, at, {kind: value})
    reported: dict[tuple[_Model, float, frozenset[tuple[str, str]]], float] = {}
    for labels, at, value in grown(promql.TOKENS, "count", (*asked, promql.KIND_OF_TOKEN)):
        if labels.get(promql.KIND_OF_TOKEN) == "input":
            key = _model(labels), at, _others(labels)
            reported[key] = reported.get(key, 0.0) + value
    called = dict.fromkeys(reported, 0.0)
    for labels, at, value in grown(promql.MODEL_DURATION, "count", (*asked, promql.ERROR_TYPE)):
        key = _model(labels), at, _others(labels)
        called[key] = called.get(key, 0.0) + value
        if labels.get(promql.ERROR_TYPE):
            yield from _both(key[0], labels, at, {"failed_model_calls": value})
    for key, count in called.items():
        of, at, others = key
        # Usage that a program reports by hand may have no duration.
        calls = max(count, reported.get(key, 0.0))
        known = reported.get(key, 0.0) if of in priced else 0.0
        sums = {"model_calls": calls, "unpriced_calls": calls - known}
        yield from _both(of, dict(others), at, sums)


def _both(
    of: _Model, labels: Labels, at: float, sums: dict[str, float]
) -> Iterator[tuple[Subject, Labels, float, dict[str, float]]]:
    yield Subject("tool", of.tool, ""), labels, at, sums
    if of.provider != _FEE:
        yield Subject("model", of.model, of.provider), labels, at, sums


def _model(labels: Labels) -> _Model:
    model = labels.get(promql.MODEL) or labels.get(promql.REQUESTED) or _NO_MODEL
    return _Model(labels.get(promql.TOOL) or NO_TOOL, labels.get(promql.PROVIDER, ""), model)


def _others(labels: Labels) -> frozenset[tuple[str, str]]:
    """Return the labels that name no model and no tool, but the service and the process."""
    return frozenset(item for item in labels.items() if item[0] not in _NAMES)
