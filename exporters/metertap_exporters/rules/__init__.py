"""Prometheus rules from thresholds: recording rules first, then the alerts that use them.

The file is YAML. Expressions are block literals, which nothing in them can end: PromQL's quoting
leaves only printable characters. All other texts are quoted strings.
"""

from __future__ import annotations

from collections.abc import Iterator

from metertap.alerts.thresholds import Thresholds
from metertap.promql import quoted
from metertap.text import prometheus_duration
from metertap_exporters.rules import alerting, recording
from metertap_exporters.rules.model import AlertingRule, Group, RecordingRule, literal

_HEAD = "# Written by `metertap rules` from [tool.metertap.alerts]: change that, and run it again."


def groups(thresholds: Thresholds) -> list[Group]:
    """Return all rules; no group is empty."""
    made = [
        Group("metertap-tools-recorded", recording.of_tools(thresholds)),
        Group("metertap-caches-recorded", recording.of_caches(thresholds)),
        Group("metertap-tools", alerting.of_tools(thresholds)),
        Group("metertap-error-budgets", alerting.of_error_budgets(thresholds)),
        Group("metertap-caches", alerting.of_caches(thresholds)),
        Group("metertap-processes", alerting.of_processes(thresholds)),
    ]
    return [group for group in made if group.rules]


def written(thresholds: Thresholds) -> str:
    """Write the rules as a file for Prometheus."""
    return "\n".join(_lines(groups(thresholds), thresholds.runbooks)) + "\n"


def _lines(groups: list[Group], runbooks: str) -> Iterator[str]:
    yield _HEAD
    yield "groups:"
    for group in groups:
        yield f"  - name: {group.name}"
        yield "    rules:"
        for rule in group.rules:
            if isinstance(rule, RecordingRule):
                yield f"      - record: {rule.record}"
                yield from _expression(rule.expr)
            else:
                yield from _alerting(rule, runbooks)


def _alerting(rule: AlertingRule, runbooks: str) -> Iterator[str]:
    yield f"      - alert: {rule.name}"
    yield from _expression(rule.expr)
    yield f"        for: {prometheus_duration(rule.for_seconds)}"
    yield "        labels:"
    yield f"          severity: {rule.severity}"
    for name, value in rule.labels.items():
        yield f"          {name}: {quoted(value)}"
    yield "        annotations:"
    yield f"          summary: {quoted(rule.summary)}"
    yield f"          description: {quoted(rule.description)}"
    yield f"          runbook_url: {quoted(f'{literal(runbooks)}#{rule.name.lower()}')}"


def _expression(expr: str) -> Iterator[str]:
    yield "        expr: |-"
    for line in expr.splitlines():
        yield f"          {line}"
