"""Alerts as receivers are told of them, and the settings of a process that tells them."""

from __future__ import annotations

from collections.abc import Callable

import metertap
from metertap.alerts.definitions import HIGH_ERROR_RATE, Finding
from metertap.alerts.evaluator import FIRING, Alert
from metertap_exporters.alert_receivers.payloads import Sender
from metertap_exporters.alert_receivers.receiver import Receiver, ReceiverKind

SENDER = Sender("shop", "here:9109", "http://127.0.0.1:9109/", "docs/runbooks.md")
NAME = HIGH_ERROR_RATE.name
AT_ONCE = """
[tool.metertap.alerts]
every = 0.1
window = "4s"
for = "0s"
minimum_calls = 20
success_objective = false
"""


Make = Callable[[ReceiverKind, str], Receiver]


def alert(state: str = FIRING, tool: str = "search", since: float = 1_700_000_000.0) -> Alert:
    labels = (("tool", tool),)
    finding = Finding(HIGH_ERROR_RATE, labels, 300.0, 12.0, 5.0, said=f"{tool} fails: 12 %")
    return Alert(finding, state, since, fired=since)


def failing(times: int = 20) -> None:
    for _ in range(times):
        metertap.record_tool_call("search", False, 1.0, "ValueError")
