"""Tokens of a text: counted by a tokeniser if one is installed, else estimated from its bytes.

The ratios are those of OpenAI's `o200k_base` for definitions and results of published MCP servers.
`python -m benchmarks.tokens` measures them, and their errors.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

ENCODING = "o200k_base"
"""The tokeniser: the encoding of OpenAI's models since GPT-4o."""
BYTES_PER_TOKEN_OF_DEFINITIONS = 4.3
BYTES_PER_TOKEN_OF_RESULTS = 3.5
ABOUT_DEFINITIONS = f"≈ {BYTES_PER_TOKEN_OF_DEFINITIONS} bytes a token"


class Tokens(NamedTuple):
    """A number of tokens, and whether it is estimated."""

    number: int
    is_estimate: bool


def of_definition(size: int | float) -> int:
    """Estimate the tokens of so many bytes of definitions."""
    return round(size / BYTES_PER_TOKEN_OF_DEFINITIONS)


def of_results(size: int | float) -> int:
    """Estimate the tokens of so many bytes of results."""
    return round(size / BYTES_PER_TOKEN_OF_RESULTS)


def counter() -> Callable[[str], int] | None:
    """Return a counter of a text's tokens; None if the extra `tokens` is not installed."""
    try:
        encoding = importlib.import_module("bpe_openai").get_encoding(ENCODING)
    except ImportError:
        return None
    return lambda text: len(encoding.encode_ordinary(text))
