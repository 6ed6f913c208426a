"""Names that become values of attributes."""

from __future__ import annotations

_LENGTH = 200


def as_label(text: str) -> str:
    """Return `text`, shortened, without characters that cannot be encoded: an export would fail."""
    if type(text) is str and len(text) <= _LENGTH and text.isascii():
        return text
    return encodable(text[:_LENGTH])


def encodable(text: str) -> str:
    """Return `text` with a question mark in place of each character that cannot be encoded.

    Names of files and values of variables may have any byte in them.
    """
    return text.encode("utf-8", "replace").decode("utf-8")
