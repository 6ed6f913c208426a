"""Tokens of one model call, as the response reports them, and checks of their plausibility."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


def fields_of(holder: Any) -> Any:
    """Return the fields of a pydantic model that allows further ones; other objects as they are.

    A look-up of a missing field in them costs no more than that of a present one, while the model
    itself takes two microseconds to raise AttributeError.
    """
    if type(holder) is dict:
        return holder
    extra = getattr(holder, "__pydantic_extra__", None)
    if type(extra) is not dict:
        return holder
    return {**extra, **holder.__dict__} if extra else holder.__dict__


def reader_of(holder: Any) -> Callable[[str], Any]:
    """Return the function that gives the value of a field of `holder`, as `field` does."""
    fields = fields_of(holder)
    return fields.get if isinstance(fields, dict) else partial(field, fields)


def field(holder: Any, name: str) -> Any:
    """Return the value of a field of an object or a mapping; None if it has none."""
    if type(holder) is not dict:
        holder = fields_of(holder)
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


_NUMBERS = frozenset({int, float, bool, type(None)})
_PLAIN = _NUMBERS | {str}
_MOST_FIELDS = 64
_MOST_CHARACTERS = 4096
"""The longest names of fields together: hundreds of copies wait, and a provider makes names up."""


def copied(found: Any) -> dict[str, Any] | None:
    """Copy the counts of a usage: the program may change them later.

    None if `found` is no pydantic model or mapping, has more than two levels, too many fields in
    all, or names that are too long or no texts. Of texts in it, nothing is copied but that they are
    texts.
    """
    fields = fields_of(found)
    if type(fields) is not dict or len(fields) > _MOST_FIELDS:
        return None
    copy = fields.copy()
    left, names = _MOST_FIELDS - len(copy), [*copy]
    for name, value in copy.items():
        kind = type(value)
        if kind is int:
            continue
        if kind is str:
            copy[name] = ""
        elif kind not in _NUMBERS:
            inner = fields_of(value)
            if type(inner) is not dict or len(inner) > left:
                return None
            inner = inner.copy()
            left -= len(inner)
            names += inner
            if not _NUMBERS.issuperset(map(type, inner.values())):
                inner = {key: "" if type(part) is str else part for key, part in inner.items()}
                if not _PLAIN.issuperset(map(type, inner.values())):
                    return None
            copy[name] = inner
    try:
        return copy if len("".join(names)) <= _MOST_CHARACTERS else None
    except TypeError:  # a name that is no text
        return None


def part(fields: Any, path: str) -> Any:
    """Return the value at a dotted path in objects or mappings; None if there is none."""
    for name in path.split("."):
        fields = field(fields, name)
        if fields is None:
            return None
    return fields


def details(fields: Any, path: str) -> Any:
    """Return the object or mapping at a dotted path; None without one. Raises Unusable."""
    found = part(fields, path) if "." in path else field(fields, path)
    if isinstance(found, str | int | float | list):
        raise Unusable(f"{path} is a {type(found).__name__}")
    return found


def tokens(fields: Any, path: str) -> int:
    """Return the tokens at a dotted path; 0 if none are reported. Raises Unusable."""
    name = path
    if "." in path:
        above, _, name = path.rpartition(".")
        fields = details(fields, above)
    value = None if fields is None else field(fields, name)
    if value is None:
        return 0
    if type(value) is not int:
        raise Unusable(f"{path} is a {type(value).__name__}")
    if not 0 <= value <= MOST_TOKENS:
        raise Unusable(f"{path} is out of range")
    return value


def checked(usage: Usage) -> Usage:
    """Return `usage` if its parts fit the whole. Raises Unusable."""
    if usage.cached + usage.cache_write + usage.input_audio > usage.input:
        raise Unusable("parts of the input are more than the input")
    if usage.cache_write_1h > usage.cache_write:
        raise Unusable("parts of the written tokens are more than these")
    if usage.reasoning > usage.output or usage.output_audio > usage.output:
        raise Unusable("parts of the output are more than the output")
    return usage


U = TypeVar("U", Usage, Usage | None)


def attempt(read: Callable[..., U], *found: Any) -> U | Unusable:
    """Return the usage that `read` reads, or the reason why it is unusable."""
    try:
        usage = read(*found)
        return usage if usage is None else checked(usage)
    except Unusable as problem:
        return problem
