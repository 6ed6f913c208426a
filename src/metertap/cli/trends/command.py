"""`metertap trends`: reads a history, and prints it by period."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path

from metertap.cli.credentials import Credentials
from metertap.cli.engines import open_history
from metertap.cli.history_options import NONE_NAMED
from metertap.cli.tables import complain, show, write_json
from metertap.cli.trends import COMMAND
from metertap.history import times
from metertap.history.answers import KINDS, HistoryError, Kind
from metertap.history.trends import Trends, as_json, trends


def run(options: argparse.Namespace, given: Credentials) -> int:
    """Show the trends. Returns exit status 1 if the history has no such data."""
    if not options.history:
        complain(COMMAND, NONE_NAMED)
        return 2
    try:
        found = _asked(options, given)
    except HistoryError as error:
        complain(COMMAND, str(error))
        return 1
    if not found.trends and not (options.json or options.csv):
        since, until = times.shown(found.since), times.shown(found.until)
        complain(COMMAND, f"nothing was measured of it from {since} to {until}")
        return 1
    if options.json:
        write_json(as_json(found))
    elif options.csv:
        from metertap.cli.trends.lines import write_csv

        write_csv(found)
    else:
        from metertap.cli.trends.tables import tables

        is_one = bool(options.tool or options.cache)
        show(tables(found, periods=is_one))
    return 0 if options.plot is None else _plot(found, options.plot)


def _asked(options: argparse.Namespace, given: Credentials) -> Trends:
    until = time.time() if options.until is None else options.until
    since = until - 7 * 86_400 if options.since is None else options.since
    if since >= until:
        raise HistoryError("--since is not before --until")
    kinds: tuple[Kind, ...] = KINDS
    if options.tool or options.cache:
        kinds = ("tool",) if options.tool else ("cache",)
    with closing(open_history(options.history, given)) as answers:
        if options.since is None:  # a young history fills the picture
            seen = [version.first_seen for version in answers.versions(options.service)]
            # All of it may be later than `until`, also where the clock was set back.
            since = max(since, min((at for at in seen if at < until), default=since))
        return trends(
            answers,
            since=since,
            until=until,
            step=options.step or times.step_for(until - since),
            service=options.service,
            kinds=kinds,
            name=options.tool or options.cache,
            by=options.by or "none",
        )


def _plot(found: Trends, file: Path) -> int:
    from metertap.cli.trends.plot import PlotError, plot

    try:
        plot(found, file)
    except PlotError as error:
        complain(COMMAND, str(error))
        return 1
    return 0
