"""`metertap regressions`: reads a history, compares, and prints what changed."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

from metertap.cli.credentials import Credentials
from metertap.cli.engines import open_history
from metertap.cli.history_options import NONE_NAMED
from metertap.cli.regressions import COMMAND
from metertap.cli.tables import complain, show, write_json
from metertap.history.answers import Answers, HistoryError
from metertap.install_command import install_command

if TYPE_CHECKING:
    from metertap.history import regressions

WIDTH = 100
_COULD_NOT_TELL = 2
_WEEK = 7 * 86_400.0


def run(options: argparse.Namespace, given: Credentials) -> int:
    """Show the changes. Returns 0 if nothing is worse, 1 if something is, 2 if that is unknown."""
    problem = _problem(options)
    if problem:
        complain(COMMAND, problem)
        return _COULD_NOT_TELL
    try:
        from metertap.history import regressions
    except ImportError as error:
        missing = error.name or "scipy"
        complain(COMMAND, f"{missing} cannot be imported: {install_command('regressions')}")
        return _COULD_NOT_TELL
    try:
        with closing(open_history(options.history, given)) as answers:
            question = _question(answers, options)
            found = regressions.report(answers, question)
    except HistoryError as error:
        complain(COMMAND, str(error))
        return _COULD_NOT_TELL

    from metertap.cli.regressions import shown

    if options.json:
        write_json(shown.as_json(found))
    elif options.format == "github":
        sys.stdout.write(shown.as_markdown(found))
    else:
        show([shown.as_table(found)], WIDTH)
    if not found.compared:
        complain(COMMAND, "nothing has enough calls on both sides to be compared")
        return _COULD_NOT_TELL
    return 1 if found.regressions else 0


def _problem(options: argparse.Namespace) -> str | None:
    if not options.history:
        return NONE_NAMED
    if (options.before is None) != (options.after is None):
        return "--before and --after need each other"
    if options.before is not None and options.baseline is not None:
        return "--baseline cannot be combined with --before and --after"
    return None


def _question(answers: Answers, options: argparse.Namespace) -> regressions.Question:
    from metertap.history import regressions

    if options.before is not None:
        return regressions.between_versions(answers, options.before, options.after, options.service)
    if options.baseline is None:
        seen = [item for item in answers.versions(options.service) if item.version]
        names = list(dict.fromkeys(item.version for item in seen))
        if len(names) > 1 and len({item.service for item in seen}) == 1:
            before, after = names[-2:]
            return regressions.between_versions(answers, before, after, options.service)
    return regressions.of_newest(answers, options.baseline or _WEEK, time.time(), options.service)
