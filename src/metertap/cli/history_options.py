"""Options of commands that read a history: which history, which time, which service."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from metertap.history.times import duration, moment
from metertap.settings.settings import history_named
from metertap.settings.table import HISTORY_VARIABLE

COSTS_DAYS = 30
NONE_NAMED = f"no history is named: give --history FILE, or set {HISTORY_VARIABLE}"


def add_history(command: argparse.ArgumentParser) -> None:
    """Add the options that name a history and a service."""
    history = command.add_mutually_exclusive_group()
    history.add_argument("--history", metavar="FILE|URL", default=history_named(), help="the same")
    history.add_argument(
        "history",
        nargs="?",
        metavar="FILE|URL",
        default=argparse.SUPPRESS,  # keep the value of the option
        help=f"what was measured (default: {HISTORY_VARIABLE})",
    )
    command.add_argument("--service", metavar="S", help="of this service only")


def add_costs(command: argparse.ArgumentParser) -> None:
    """Add the options that take costs from a history, and choose its time."""
    command.add_argument(
        "--history", metavar="FILE|URL", help="show each day of this history instead"
    )
    since = f"of the history: a time, or how long ago ({COSTS_DAYS}d)"
    command.add_argument("--since", type=a_time, metavar="T", help=since)
    command.add_argument("--service", metavar="S", help="of the history: this service only")
    versions = "of the history: tell versions of the program apart"
    command.add_argument("--by", choices=["version"], help=versions)


def a_time(text: str) -> float:
    """Read the value of an option that is a time, or how long ago it was."""
    return _read(text, lambda given: moment(given, time.time()))


def a_duration(text: str) -> float:
    """Read the value of an option that is a time span."""
    return _read(text, duration)


def _read(text: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
