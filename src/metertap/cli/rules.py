"""`metertap rules`: Prometheus rules from the thresholds of the configuration file."""

from __future__ import annotations

import sys
from pathlib import Path

from metertap.alerts import thresholds
from metertap.replacing import replace
from metertap.settings import config_file, settings
from metertap.text import printable
from metertap_exporters import rules as prometheus_rules


def rules(*, config: str | None, out: str | None) -> int:
    """Write the rules. Returns exit status 2, and writes none, if a threshold cannot be used."""
    named = config or settings.config_file_named()
    try:
        table = config_file.load(named)
    except FileNotFoundError as error:
        if named:
            return _wrong(str(error), 2)
        table = {}  # every threshold has a default
    except Exception as error:
        return _wrong(f"{named or config_file.DEFAULT}: {error}", 2)
    alerts = table.get("alerts", {})
    if not isinstance(alerts, dict):
        return _wrong(f"alerts = {alerts!r}: a table is needed", 2)
    try:
        text = prometheus_rules.written(thresholds.read(alerts))
    except thresholds.BadThresholds as error:
        for message in error.messages:
            _wrong(f"alerts.{message}", 2)
        return 2
    if out is None:
        sys.stdout.write(text)
        return 0
    try:
        replace(Path(out), text)
    except (OSError, ValueError) as error:
        return _wrong(str(error), 1)
    return 0


def _wrong(message: str, status: int) -> int:
    sys.stderr.write(f"metertap rules: {printable(message)}\n")
    return status
