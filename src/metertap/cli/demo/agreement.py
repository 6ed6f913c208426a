"""The demo's comparison of the same figures from four sources: client, JSON, Prometheus, OTLP."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from metertap import catalogue, outcomes
from metertap.cli.demo.client import CANCELLED, FAILED, OK, REFUSED
from metertap.tables.document import Document

_HISTOGRAM_COUNT = "gen_ai_execute_tool_duration_seconds_count"


@dataclass(frozen=True, slots=True)
class Totals:
    """Numbers of calls by outcome."""

    ok: int
    failed: int
    cancelled: int
    refused: int

    @property
    def calls(self) -> int:
        return self.ok + self.failed + self.cancelled + self.refused


def of_client(counts: dict[str, Counter[str]]) -> Totals:
    """Return the totals that the client counted."""
    sums: Counter[str] = Counter()
    for results in counts.values():
        sums.update(results)
    return Totals(sums[OK], sums[FAILED], sums[CANCELLED], sums[REFUSED])


def of_document(document: Document) -> Totals:
    """Return the totals in the JSON document."""
    tools = document["tool_metrics"].values()
    return Totals(
        sum(tool["successful_calls"] for tool in tools),
        sum(tool["failed_calls"] for tool in tools),
        sum(tool["cancelled_calls"] or 0 for tool in tools),
        sum(tool["caller_errors"] or 0 for tool in tools),
    )


def of_prometheus(text: str) -> Totals:
    """Return the totals in a Prometheus scrape."""
    from prometheus_client.parser import text_string_to_metric_families

    sums: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == _HISTOGRAM_COUNT:
                sums[sample.labels[catalogue.OUTCOME.replace(".", "_")]] += int(sample.value)
    return _of_outcomes(sums)


def of_otlp(outcomes: dict[str, Counter[str]]) -> Totals:
    """Return the totals that the collector received."""
    sums: Counter[str] = Counter()
    for counts in outcomes.values():
        sums.update(counts)
    return _of_outcomes(sums)


def _of_outcomes(sums: Counter[str]) -> Totals:
    return Totals(
        sums[outcomes.OK],
        sum(sums[name] for name in outcomes.FAILED),
        sums[outcomes.CANCELLED],
        sums[outcomes.CALLER_ERROR],
    )
