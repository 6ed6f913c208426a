"""The parts of a rules file, and the rules that result from defaults and exceptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from metertap.promql import quoted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A series that Prometheus computes and keeps."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """A condition, how long it has to hold, and what to tell."""

    name: str
    expr: str
    for_seconds: int
    severity: str
    summary: str
    description: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after another."""

    name: str
    rules: Sequence[RecordingRule | AlertingRule]


@dataclass(frozen=True, slots=True)
class Variant:
    """One rule's share of the tools or caches: those with equal thresholds.

    Those with thresholds of their own have a rule each, and the label says whose it is.
    """

    matchers: str
    labels: Mapping[str, str]


def variants(
    label: str, default: T, own: Mapping[str, T], key: Callable[[T], object]
) -> Iterator[tuple[Variant, T]]:
    """Yield the default's rule, and one for each name whose `key` differs from the default's."""
    exceptions = {name: value for name, value in own.items() if key(value) != key(default)}
    matchers = ", ".join(f"{label}!={quoted(name)}" for name in exceptions)
    yield Variant(f"{{{matchers}}}" if matchers else "", {}), default
    for name, value in exceptions.items():
        yield only(label, name), value


def only(label: str, name: str) -> Variant:
    """Select one tool or cache by its name, for a rule of its own."""
    return Variant(f"{{{label}={quoted(name)}}}", {label: literal(name)})


def literal(text: str) -> str:
    """Escape `text` for where Prometheus expands templates."""
    return text.replace("{{", '{{"{{"}}')
