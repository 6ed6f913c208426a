"""The command line of `metertap weight`."""

from __future__ import annotations

import argparse
import re
from typing import Any, NamedTuple

CONTEXT_WINDOW = 200_000
"""The default number of tokens in a model's context."""
_LIMIT = re.compile(r"(\d+)(tokens|bytes)?", re.ASCII)


class Limit(NamedTuple):
    """The most tokens or bytes that all definitions together may have."""

    most: int
    unit: str
    """`tokens` or `bytes`."""


def add_to(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the others, and return its parser."""
    weight: argparse.ArgumentParser = commands.add_parser(
        "weight",
        help="show what the tools of an MCP server weigh in a model's context (extra mcp)",
        description="Start any MCP server, or ask the one at URL, and list the bytes and tokens of "
        "its tools' definitions, the largest first. No tool runs. Exit status 1: they weigh more "
        "than --fail-over allows; 2: the server could not be asked.",
        usage="metertap weight [options] -- CMD [ARG ...]\n"
        "       metertap weight [options] --url http://HOST/mcp",
    )
    weight.add_argument("--url", help="of a server that listens (streamable HTTP)")
    weight.add_argument(
        "--context",
        type=_whole_number,
        default=CONTEXT_WINDOW,
        metavar="TOKENS",
        help="a model's context window (default: %(default)s)",
    )
    weight.add_argument(
        "--fail-over",
        dest="most",
        type=_limit,
        metavar="N",
        help="exit with 1 if all definitions weigh more than N tokens; Nbytes: than N bytes",
    )
    weight.add_argument(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="wait so long for the server in all (default: 30 s)",
    )
    form = weight.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print JSON")
    form.add_argument(
        "--format", dest="form", choices=("text", "github"), default="text", help="github: Markdown"
    )
    return weight


def _limit(text: str) -> Limit:
    found = _LIMIT.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("takes a number of tokens, or of bytes as in 30000bytes")
    return Limit(int(found[1]), found[2] or "tokens")


def _whole_number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("takes a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("takes a number of seconds from 0 to 3600")
    return seconds
