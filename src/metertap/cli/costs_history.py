"""`metertap costs --history`: what was spent on each day (UTC), by tool, model and version."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from typing import cast

from metertap import parsing
from metertap.cli.credentials import Credentials
from metertap.cli.engines import open_history
from metertap.cli.history_options import COSTS_DAYS
from metertap.cli.tables import complain, show, write_json
from metertap.history.answers import HistoryError
from metertap.history.spending import DAY, spending
from metertap.settings import config_file, settings
from metertap.tables import spending as tables


def costs_of_history(options: argparse.Namespace, given: Credentials) -> int:
    """Show the costs of each day in a history. Returns exit status 1 if there were none."""
    until = time.time()
    since = until - COSTS_DAYS * DAY if options.since is None else options.since
    try:
        with closing(open_history(options.history, given)) as answers:
            found = spending(
                answers,
                since=since,
                until=until,
                service=options.service,
                by_version=options.by is not None,
            )
    except HistoryError as error:
        complain("costs", str(error))
        return 1
    if not found.days:
        complain("costs", "no model was called in this time")
        return 1
    document = found.as_json(_budget())
    if options.as_json:
        write_json(document)
    else:
        show(tables.tables(cast(tables.Spending, document)))
    return 0


def _budget() -> float | None:
    """Return the `daily_budget` of the configuration file, if there is one that can be read."""
    try:
        alerts = config_file.load(settings.config_file_named()).get("alerts", {})
        return parsing.positive_amount(alerts.get("daily_budget"))
    except Exception:  # other commands report what is wrong with the file
        return None
