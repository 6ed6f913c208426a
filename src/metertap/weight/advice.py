"""Recommendations that make tools lighter, each with arithmetic that a reader can repeat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metertap.text import ABOUT
from metertap.weight import tokens
from metertap.weight.definitions import Definition

_OF_CONTEXT = {"definition": 0.005, "results": 0.05}
"""The share of a context window from which a definition, or a large result, is heavy."""
_FEW = 20
"""The number of results below which a percentile may be chance."""


def heavy_definition(
    tool: str, definition: Definition, calls: int, context: int
) -> Iterator[dict[str, Any]]:
    """Recommend a smaller definition if it takes much of every session's context.

    `calls` is the number of the tool's calls, `context` the window in tokens.
    """
    weighs = tokens.of_definition(definition.total)
    if weighs < _OF_CONTEXT["definition"] * context:
        return
    part = "schema" if definition.schema >= definition.description else "description"
    ratio = tokens.BYTES_PER_TOKEN_OF_DEFINITIONS
    yield _made(
        "heavy_definition",
        tool,
        f"the definition of {tool} takes {ABOUT}{weighs} tokens of every session, most of it its "
        f"{part}; it was called {calls} times",
        f"{definition.total} bytes, {definition.description} of them the description and "
        f"{definition.schema} the schema; {definition.total} / {ratio} bytes a token = {weighs} "
        f"tokens, {100 * weighs / context:.1f} % of a context of {context}",
        "medium",
    )


def heavy_results(
    tool: str, p95_bytes: float | None, results: int, context: int
) -> Iterator[dict[str, Any]]:
    """Recommend smaller results if one in twenty takes much of a context of so many tokens."""
    if p95_bytes is None:
        return
    weighs = tokens.of_results(p95_bytes)
    if weighs < _OF_CONTEXT["results"] * context:
        return
    ratio = tokens.BYTES_PER_TOKEN_OF_RESULTS
    yield _made(
        "heavy_results",
        tool,
        f"one result of {tool} in twenty takes {ABOUT}{weighs} tokens or more: pages, a limit or a "
        "summary would be lighter",
        f"p95 of the last results is {p95_bytes:.0f} bytes, / {ratio} bytes a token = {weighs} "
        f"tokens, {100 * weighs / context:.1f} % of a context of {context}",
        "medium" if results >= _FEW else "low",
    )


def _made(kind: str, tool: str, text: str, arithmetic: str, confidence: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "tool": tool,
        "text": text,
        "arithmetic": arithmetic,
        "confidence": confidence,
    }
