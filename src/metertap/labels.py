"""Names that become values of attributes."""

from __future__ import annotations

_LENGTH = 200


def as_label(text: str) -> str:
    """Return `text` cut off, and without what cannot be encoded, which breaks every export."""
    if type(text) is str and len(text) <= _LENGTH and text.isascii():
        return text
    return text[:_LENGTH].encode("utf-8", "replace").decode("utf-8")
