"""Multi-window burn-rate alerts for a success-rate objective.

The long window says that it matters, the short one that it still goes on.
"""

from __future__ import annotations

from metertap.alerts.burn_windows import WINDOWS
from metertap.alerts.thresholds import Thresholds
from metertap.text import number, prometheus_duration
from metertap_exporters import promql
from metertap_exporters.rules import recording
from metertap_exporters.rules.model import Alert, percent, variants


def alerts(thresholds: Thresholds) -> list[Alert]:
    """Four for each objective."""
    made = []
    for variant, tool in variants(
        promql.TOOL,
        thresholds.tool,
        thresholds.tools,
        lambda tool: (tool.success_objective, tool.minimum_calls),
    ):
        if tool.success_objective is None:
            continue
        budget = 1 - tool.success_objective
        for pair in WINDOWS:
            limit = f"{variant.matchers} > {number(pair.factor)} * {number(budget)}"
            enough = f"{recording.calls(pair.long)}{variant.matchers} * {pair.long}"
            made.append(
                Alert(
                    "MetertapErrorBudgetBurn",
                    f"{recording.failure_ratio(pair.long)}{limit}\n"
                    f"and {recording.failure_ratio(pair.short)}{limit}\n"
                    f"and {enough} >= {tool.minimum_calls}",
                    pair.for_seconds,
                    pair.severity,
                    f"Tool {{{{ $labels.{promql.TOOL} }}}} of {{{{ $labels.job }}}} "
                    "spends its error budget too fast",
                    f"{{{{ $value | humanizePercentage }}}} of its calls in the last "
                    f"{prometheus_duration(pair.long)} failed, and it goes on: "
                    f"{number(pair.factor)} times what an objective of "
                    f"{percent(tool.success_objective)} allows, or more.",
                    {
                        **variant.labels,
                        "long_window": prometheus_duration(pair.long),
                        "short_window": prometheus_duration(pair.short),
                    },
                )
            )
    return made
