"""Tokens of one model call, as the response reports them, and checks of their plausibility."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

MOST_TOKENS = 10**12
"""The most tokens of one call: a larger count is wrong, and would make sums meaningless."""


class Usage(NamedTuple):
    """Tokens of one model call. The input includes cached ones, the output reasoning."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    input_audio: int = 0
    output_audio: int = 0
    cache_write_1h: int = 0
    """Written tokens that the provider caches for an hour."""
    web_searches: int = 0
    """Searches that the provider made for the call."""


class Unusable(ValueError):
    """An implausible usage; the message names the count, never what a prompt contains."""


def part(fields: Any, path: str) -> Any:
    """Return the value at a dotted path in objects or mappings; None if there is none."""
    for name in path.split("."):
        fields = fields.get(name) if isinstance(fields, dict) else getattr(fields, name, None)
        if fields is None:
            return None
    return fields


def tokens(fields: Any, path: str) -> int:
    """Return the count of tokens at a dotted path, 0 where none is reported. Raises Unusable."""
    value = part(fields, path)
    if value is None:
        above, is_inside, _ = path.rpartition(".")
        if is_inside and isinstance(details := part(fields, above), str | int | float | list):
            raise Unusable(f"{above} is a {type(details).__name__}")
        return 0
    if type(value) is not int:
        raise Unusable(f"{path} is a {type(value).__name__}")
    if not 0 <= value <= MOST_TOKENS:
        raise Unusable(f"{path} is out of range")
    return value


def checked(usage: Usage) -> Usage:
    """Return `usage` if its parts fit into the whole. Raises Unusable."""
    if usage.cached + usage.cache_write + usage.input_audio > usage.input:
        raise Unusable("parts of the input are more than the input")
    if usage.cache_write_1h > usage.cache_write:
        raise Unusable("parts of the written tokens are more than these")
    if usage.reasoning > usage.output or usage.output_audio > usage.output:
        raise Unusable("parts of the output are more than the output")
    return usage


U = TypeVar("U", Usage, Usage | None)


def attempt(read: Callable[..., U], *found: Any) -> U | Unusable:
    """Return what `read` makes of what was reported, or why it cannot be used."""
    try:
        usage = read(*found)
        return usage if usage is None else checked(usage)
    except Unusable as problem:
        return problem
