"""`metertap trends`: a history over days, period by period."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from metertap.cli.history_options import a_duration, a_time, add_history

COMMAND = "trends"


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the command's options, and return its parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        COMMAND,
        help="show calls, errors, percentiles and hit rates over days",
        description="Show what a history has of each tool and cache, and of one period by period "
        "where --tool or --cache names it.",
    )
    add_history(command)
    command.add_argument(
        "--since",
        type=a_time,
        metavar="T",
        help="a time, or how long ago: 7d (default), 2026-11-20",
    )
    command.add_argument("--until", type=a_time, metavar="T", help="the same (default: now)")
    command.add_argument("--step", type=a_duration, metavar="S", help="length of a period, as 6h")
    subject = command.add_mutually_exclusive_group()
    subject.add_argument("--tool", metavar="X", help="only this tool")
    subject.add_argument("--cache", metavar="X", help="only this cache")
    command.add_argument("--by", choices=["version"], help="tell versions of the program apart")
    output = command.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument("--csv", action="store_true", help="print a line for each period")
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw it as .png or .svg (extra plot)"
    )
    return command
