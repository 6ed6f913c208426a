"""A file of rules as YAML.

Expressions are block literals, which nothing in them can end: PromQL's own quoting leaves only
printable characters. Every other text is a quoted string.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metertap.text import prometheus_duration
from metertap_exporters.promql import quoted
from metertap_exporters.rules.model import Alert, Group, Recording, literal

_HEAD = "# Written by `metertap rules` from [tool.metertap.alerts]: change that, and run it again."


def to_yaml(groups: Sequence[Group], runbooks: str) -> str:
    """The file's text."""
    return "\n".join(_lines(groups, runbooks)) + "\n"


def anchor(alert: str) -> str:
    """The section of the runbooks that is about an alert."""
    return alert.lower()


def _lines(groups: Sequence[Group], runbooks: str) -> Iterator[str]:
    yield _HEAD
    yield "groups:"
    for group in groups:
        yield f"  - name: {group.name}"
        yield "    rules:"
        for rule in group.rules:
            yield from _recording(rule) if isinstance(rule, Recording) else _alert(rule, runbooks)


def _recording(rule: Recording) -> Iterator[str]:
    yield f"      - record: {rule.record}"
    yield from _expression(rule.expr)


def _alert(rule: Alert, runbooks: str) -> Iterator[str]:
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
    yield f"          runbook_url: {quoted(f'{literal(runbooks)}#{anchor(rule.name)}')}"


def _expression(expr: str) -> Iterator[str]:
    yield "        expr: |-"
    for line in expr.splitlines():
        yield f"          {line}"
