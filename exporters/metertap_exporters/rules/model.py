"""The parts of a rules file, and the rules for defaults and exceptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from metertap.promql import quoted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A series that Prometheus computes and stores."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """A condition, how long it has to hold, and the texts of the alert."""

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
    """The tools or caches of one rule, which have equal thresholds.

    Those with their own thresholds have a rule each, with a label that names them.
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
    """Return the variant of one tool or cache, for a rule of its own."""
    return Variant(f"{{{label}={quoted(name)}}}", {label: literal(name)})


def literal(text: str) -> str:
    """Escape `text` for places where Prometheus expands templates."""
    return text.replace("{{", '{{"{{"}}')
