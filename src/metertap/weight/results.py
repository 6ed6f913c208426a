"""The size of a result, from lengths that are known: nothing is serialised or kept.

Text counts in bytes of UTF-8. Other content (images, audio, files, generators) has no size in a
model's context; a result that contains any is of unknown size, since the rest's would be too small.
The size of a result that a framework writes as JSON is only known once it is written;
`of_structure` computes it without writing, for a sample of results.
"""

from __future__ import annotations

from typing import Any, Final

from metertap.weight.definitions import utf8_length

UNKNOWN: Final = -1
"""The mark in place of a size that cannot be known."""
STRUCTURED: Final = -2
"""The mark in place of a size that only serialising tells."""

_MOST_PARTS = 1000
_LONGEST = 1_000_000
"""The most characters of a text that is not ASCII: counting more bytes takes too long."""
_MOST_BYTES = 10_000_000
"""The most bytes of texts in a structure: looking for what JSON escapes takes 2 ms a megabyte."""
_MOST_NODES = 500
_STRUCTURES = frozenset(map(id, (dict, list, tuple, int, float, bool, type(None))))
"""Ids of types: comparing other types could call the program's metaclass."""
_CONSTANTS = {None: 4, True: 4, False: 5}


def of_text(text: str) -> int:
    """Return the bytes of a text."""
    if text.isascii():
        return len(text)
    return utf8_length(text) if len(text) <= _LONGEST else UNKNOWN


def of_content(blocks: Any) -> int:
    """Return the bytes of all texts in MCP's content blocks, as dictionaries or as the SDK's."""
    if len(blocks) > _MOST_PARTS:
        return UNKNOWN
    total = 0
    for block in blocks:
        fields = block if type(block) is dict else block.__dict__
        text = fields.get("text")
        if type(text) is str and text.isascii():
            total += len(text)
            continue
        if text is None:  # an embedded file's text
            inner = fields.get("resource")
            if inner is None:
                return UNKNOWN
            text = (inner if type(inner) is dict else inner.__dict__).get("text")
        size = of_text(text) if type(text) is str else UNKNOWN
        if size < 0:
            return UNKNOWN
        total += size
    return total


def of_value(value: Any) -> int:
    """Return the bytes of a tool's result, or a mark in their place."""
    kind = type(value)
    if kind is str:
        return of_text(value)
    if id(kind) in _STRUCTURES or _fields(value) is not None:
        return STRUCTURED
    return UNKNOWN


def of_structure(value: Any) -> int:
    """Return the bytes of a value as compact JSON, or `UNKNOWN` for a large or an odd one."""
    total, left = 0, [value]
    for _ in range(_MOST_NODES):
        if not left:
            return total
        node = left.pop()
        kind = type(node)
        if kind is str:
            size = of_text(node)
            if size < 0 or total + size > _MOST_BYTES:
                return UNKNOWN
            total += size + 2 + node.count('"') + node.count("\\") + node.count("\n")
        elif kind is bool or node is None:
            total += _CONSTANTS[node]
        elif kind is int or kind is float:
            total += len(repr(node))
        elif kind is list or kind is tuple:
            total += 2 + max(0, len(node) - 1)
            left += node[:_MOST_NODES]
        else:
            fields = node if kind is dict else _fields(node)
            if fields is None:
                return UNKNOWN
            total += 2 + max(0, 2 * len(fields) - 1)
            if len(fields) > _MOST_NODES:
                return UNKNOWN
            for name, inner in fields.items():
                left += (name if type(name) is str else str(name), inner)
    return UNKNOWN


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass or pydantic model; None for other objects."""
    kind = type(value)
    names = kind.__dict__.get("__pydantic_fields__") or kind.__dict__.get("__dataclass_fields__")
    found = None if names is None else getattr(value, "__dict__", None)
    return found if type(found) is dict else None
