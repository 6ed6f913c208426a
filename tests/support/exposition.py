"""Reading Prometheus text in tests."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: bytes) -> Samples:
    """Values by name and labels; empty labels and those of the scope left out."""
    return {
        (
            sample.name,
            frozenset(
                (label, value)
                for label, value in sample.labels.items()
                if value and not label.startswith("otel_scope_")
            ),
        ): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def key(name: str, /, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """As a key of `samples`."""
    return name, frozenset(labels.items())
