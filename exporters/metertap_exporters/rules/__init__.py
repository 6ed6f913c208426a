"""Prometheus rules from thresholds: recording rules first, then the alerts that read them."""

from __future__ import annotations

from metertap.alerts.thresholds import Thresholds
from metertap_exporters.rules import burn_rates, caches, process, recording, tools
from metertap_exporters.rules.model import Group
from metertap_exporters.rules.writing import to_yaml


def groups(thresholds: Thresholds) -> list[Group]:
    """Every rule; no group is empty."""
    made = [
        Group("metertap-tools-recorded", recording.of_tools(thresholds)),
        Group("metertap-caches-recorded", recording.of_caches(thresholds)),
        Group("metertap-tools", tools.alerts(thresholds)),
        Group("metertap-error-budgets", burn_rates.alerts(thresholds)),
        Group("metertap-caches", caches.alerts(thresholds)),
        Group("metertap-processes", process.alerts(thresholds)),
    ]
    return [group for group in made if group.rules]


def written(thresholds: Thresholds) -> str:
    """The rules as a file for Prometheus."""
    return to_yaml(groups(thresholds), thresholds.runbooks)
