"""The cost in five lines, for README or docs/performance.md, made of one run that was stored."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.known import name_of
from benchmarks.measuring import Result

_LINES = {
    "@metertap.tool, plain function / singleton, by hand": (
        "A call of a decorated function: {us:.2f} µs, {ratio:.2f} × a collector called by hand."
    ),
    "sync tool call, patched / wrapt + SDK": (
        "A patched call: {ratio:.3f} × what wrapt and OpenTelemetry's `Histogram.record` take."
    ),
    "MCP 2.x tools/call, MCPServer / CPU of the call": (
        "An MCP `tools/call`, client and server: {percent:.1f} to {most:.1f} % of its CPU time."
    ),
    "metertap run, first answer, MCP server / 30 ms over bare": (
        "`metertap run` until an MCP server's first answer: {ms:.0f} ms."
    ),
    "cachetools lookup, patched / wrapt that does nothing": (
        "A lookup in a patched cache: {us:.2f} µs, {ratio:.2f} × a wrapper that does nothing."
    ),
}
"""What is said of a row, by its name. Its own side comes first, the other side after the ratio."""


BEGINNINGS = tuple(f"- {text.partition('{')[0]}" for text in _LINES.values())
"""How these lines begin, whatever their figures are."""


def lines(results: Sequence[Result]) -> list[str]:
    """Return a line for each of these rows that was measured."""
    found = {name_of(item): item for item in results}
    return [
        "- "
        + text.format(
            ratio=item.ratio.median,
            percent=min(item.ratio.median, item.ratio.low) * 100,
            most=max(item.ratio.median, item.ratio.high) * 100,
            us=item.seconds * 1e6,
            ms=item.seconds * 1e3,
        )
        for name, text in _LINES.items()
        if (item := found.get(name)) is not None
    ]
