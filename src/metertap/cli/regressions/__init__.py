"""`metertap regressions`: what became worse, by how much, since when and in which version."""

from __future__ import annotations

import argparse
from typing import Any

from metertap.cli.history_options import a_duration, add_history

COMMAND = "regressions"


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the command's options, and return its parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        COMMAND,
        help="show what became slower or failed more (extra regressions)",
        description="Compare two versions, or the newest day with the time before it. Without "
        "either: the newest version with the one before, or a week where there is one version. "
        "The exit status is 0 if nothing became worse, 1 if something did, and 2 if that could "
        "not be told.",
    )
    add_history(command)
    command.add_argument(
        "--baseline",
        type=a_duration,
        metavar="SPAN",
        help="compare the newest day (at most a seventh of SPAN) with SPAN before it: 7d",
    )
    command.add_argument("--before", metavar="V", help="compare version V …")
    command.add_argument("--after", metavar="V", help="… with version V")
    output = command.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument(
        "--format", choices=["github"], help="print Markdown, for a comment on a pull request"
    )
    return command
