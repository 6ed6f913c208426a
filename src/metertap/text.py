"""Text for people: figures, and what others wrote, so that it can be shown.

Figures stand in columns, in sentences, and in Prometheus's configuration. A missing figure is a
dash, never 0. In columns nothing is rounded up to 100 % or down to 0 %.
What others wrote (names, errors, values of settings) goes through `printable` before it reaches a
terminal or a log, and through `without_secrets` if it may quote an address or a header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NONE = "–"
"""The text of a figure that is not known."""
ABOUT = "≈"
"""The sign of a percentile that is estimated, or limited to the longest of few calls."""
LEGEND = f"{ABOUT} an estimate, or of too few calls"
TWO_CALLS = f"{NONE} a percentile needs two calls"

NO_TOOL = (
    "No tool has been called yet. Tools of MCP and of agent frameworks are found by themselves. "
    "Functions of your own, such as the routes of a web framework, become tools by @metertap.tool "
    "next to them, below a decorator that registers them such as @app.get, by "
    '`with metertap.measure_tool("name"):` around a block, or by a line below '
    '[tool.metertap.tools] in pyproject.toml: "package.module:function" = {}'
)
"""The advice if caches are measured and no tool is."""

ORDER = (
    "If it runs all the same: a decorator that registers a function, such as @app.get, has to "
    "stand above @metertap.tool"
)
"""The advice if no call of a decorated function was seen."""

_LONGEST = 1000
"""The most characters that are shown of one text."""
_HIDDEN = "…"
_SEARCHED = 2_000
"""The most characters that are searched for secrets: the search takes quadratic time."""
# Patterns are compiled when they are first needed, not at the start of every program.
_USER = r"(//|:/)(?!/)\S*@|\b[^\s/@:'\"]+:[^\s/@]+@"
_PATH = r"(?i)(\bhttps?://?[^\s/?#'\"<>]+)[/?#][^\s'\"<>]+"
_SCHEME = r"(?i)\b(bearer|basic)(?:\s|%20|\+)+[^\s'\",;]+"
_OPTION = (
    r"(?i)(--[\w-]{0,40}(?:token|passw(?:or)?d|passphrase|secret|api[-_]?key)\s{1,9})(?!-)"
    r"(?:(['\"]).*?\2|[^\s'\"]+)"
)
_BY_LOOK = r"\b(?:sk-|gh[a-z]_|github_pat_|glpat-|xox[a-z]-|AKIA|eyJ)[\w.-]{12,}"
"""Tokens of OpenAI, GitHub, GitLab, Slack and AWS, and JSON Web Tokens, by their prefixes."""
_PAIR = (
    r"(?i)((?:(?P<header>authorization|cookie)|(?:api|access|account|private)[-_]?key|token|passw"
    r"|passphrase|pwd|secret|credential|signature|session[-_]?id"
    r"|(?<![a-z])(?:auth|jwt|pass|sig)(?![a-z]))[\w-]{0,40}"
    r"(?:\\?['\"])?\s{0,9}(?:[=:]|(?<=['\"]),)\s{0,9}b?)"
    # A quoted value ends with its quote, a header's with its line: both may contain spaces.
    r"(?:(?P<quote>\\?['\"])(?:\\.|(?!(?P=quote))[\s\S])*|(?(header)[^\n]+|[^\s'\",;&]+))"
)


# What others wrote


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first of `names`, and the number of those left out."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def printable(text: str, longest: int = _LONGEST) -> str:
    """Return `text` with everything escaped that a terminal would obey instead of showing it.

    Names from other processes may have control sequences, line ends, and characters that reverse
    the direction of a line. Text that is too long for people to read is cut off.
    """
    shown = text if len(text) <= longest else f"{text[:longest]}…"
    if shown.isprintable():
        return shown
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown
    )


def without_secrets(text: str) -> str:
    """Return `text` without users, passwords and headers that it quotes, as far as they are found.

    Errors of libraries quote what they could not use: an address with a password, a header. A text
    that is longer than any that is shown is cut off.
    """
    text = re.sub(_USER, rf"\1{_HIDDEN}@", text[:_SEARCHED])
    text = re.sub(_SCHEME, rf"\1 {_HIDDEN}", text)
    text = re.sub(_BY_LOOK, _HIDDEN, re.sub(_OPTION, rf"\1{_HIDDEN}", text))
    return re.sub(_PAIR, rf"\1\g<quote>{_HIDDEN}", text)


def without_paths(text: str) -> str:
    """Return `text` with addresses cut off after the host: the path of a webhook is a secret."""
    return re.sub(_PATH, rf"\1/{_HIDDEN}", text)


def markdown(text: str) -> str:
    """Return `text` escaped for Markdown, including GitHub's.

    Mentions of people and addresses are not linked either.
    """
    return re.sub(r"([\\`*_{}\[\]<>()#+\-.!|~@&:])", r"\\\1", printable(text))


# In columns


def latency(milliseconds: float | None) -> str:
    """Write a latency with three digits and a unit of two characters: `2.35 s `."""
    if milliseconds is None:
        return f"{NONE}   "
    size = abs(milliseconds)
    if 0 < size < 0.1:
        number, unit = _three_digits(milliseconds * 1000), "µs"
    elif size < 999.5:
        number, unit = _three_digits(milliseconds), "ms"
    elif size < 99_950:
        number, unit = _three_digits(milliseconds / 1000), "s"
    else:
        number, unit = _three_digits(milliseconds / 60_000), "m"
    return f"{number} {unit:<2}"


def percent(value: float | None) -> str:
    """Write a percentage (0 to 100) without the sign: `99.9`."""
    if value is None:
        return NONE
    if value in (0, 100):
        return f"{value:.0f}"
    if value < 0.1:
        return "<0.1"
    return f"{min(value, 99.9):.1f}"


def rate(per_second: float | None) -> str:
    """Write a number of events per second: `3.1`."""
    if per_second is None:
        return NONE
    if per_second == 0:
        return "0"
    if per_second < 0.1:
        return "<0.1"
    return f"{per_second:.1f}" if per_second < 99.95 else f"{per_second:.0f}"


def count(value: int | None) -> str:
    """Write a whole number with all of its digits."""
    return NONE if value is None else str(value)


def size(value: int | None) -> str:
    """Write a number of bytes in megabytes or gigabytes: `1.50 GB`."""
    if value is None:
        return NONE
    return f"{_three_digits(value / 1e6)} MB" if value < 1e9 else f"{_three_digits(value / 1e9)} GB"


def money(usd: float | None) -> str:
    """Write an amount of USD: in cents, or with three digits below a dollar: `$0.00215`."""
    if usd is None:
        return NONE
    if not usd or abs(usd) >= 1:
        return f"${usd:,.2f}"
    if abs(usd) < 0.0001:
        return f"${usd:.1e}"
    digits = f"{usd:.3g}"
    return f"${digits}" if len(digits.partition(".")[2]) > 1 else f"${usd:.2f}"


def tool(name: str) -> str:
    """Return a tool's name for people; `none` stands for model calls outside of any tool."""
    return "outside tools" if name == "none" else name


def duration(seconds: float) -> str:
    """Write a time in its largest unit and the next smaller one: `5 min 0 s`."""
    parts = _split(max(0, int(seconds)))
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return _spaced(parts[first : first + 2])


# In sentences


def share(value: float) -> str:
    """Write a share (0 to 1) as a percentage: `12.5 %`."""
    return f"{_without_zeros(value * 100)} %"


def seconds(value: float | None) -> str:
    """Write a latency in seconds: `250 ms`, `2.3 s`."""
    if value is None:
        return NONE
    return f"{_without_zeros(value * 1000)} ms" if value < 1 else f"{_without_zeros(value)} s"


def time_span(seconds: float) -> str:
    """Write a time of at least a second in its two largest units that are not zero: `5 min`."""
    return _spaced([part for part in _split(max(1, round(seconds))) if part[0]][:2])


# In Prometheus's configuration


def number(value: float) -> str:
    """Write a number without rounding errors of binary fractions: `0.01`."""
    return f"{value:.10g}"


def prometheus_duration(seconds: int) -> str:
    """Write a time in Prometheus's notation: `1h30m`."""
    return "".join(f"{count}{unit[0]}" for count, unit in _split(seconds) if count) or "0s"


def _split(seconds: int) -> list[tuple[int, str]]:
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        parts.append((number, unit))
    return parts


def _spaced(parts: list[tuple[int, str]]) -> str:
    return " ".join(f"{number} {unit}" for number, unit in parts)


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    if magnitude < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if magnitude < 99.95 else f"{value:.0f}"


def _without_zeros(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
