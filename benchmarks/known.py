"""Rows that are known to miss their limit: by how much at most, and what the profile shows."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.measuring import Result


class Miss(NamedTuple):
    """A limit that is missed."""

    at_most: float
    """The ratio up to which that is no news."""
    why: str


MISSES: dict[str, Miss] = {
    "@metertap.tool / closure, 2 clocks + append": Miss(
        3.5, "a third is the context variable by which a cache finds its tool, a sixth the frame"
    ),
    "@metertap.tool / the seed's collector": Miss(
        1.4, "the same two, which the collector that is called by hand lacks"
    ),
    "a configured line / closure, 2 clocks + append": Miss(
        6.2, "a name is looked up at each call, beside what @metertap.tool does"
    ),
    "a configured line, async / async closure": Miss(4.8, "the same, and a coroutine more"),
    "@metertap.tool, plain function / wrapt + SDK": Miss(0.06, "see @metertap.tool"),
    "cache hit, outside a tool / singleton": Miss(0.8, "the call in progress is looked for"),
    "metertap run, first answer, MCP server / 30 ms over bare": Miss(
        3.5, "100 modules of metertap and wrapt are imported, and Python starts twice"
    ),
    "instrument(), nothing to patch / 30 ms": Miss(
        2.5, "readers, endpoints and process metrics are imported where a port opens at once"
    ),
    "LangChain tool.invoke / time of the call": Miss(0.015, "three patches pass the call on"),
    "LangChain tool without a schema / time of the call": Miss(0.03, "the same, of less"),
    "pydantic-ai tool call / time of the call": Miss(0.03, "the cheapest call that there is"),
    "MCP 2.x tools/call, MCPServer / CPU of the call": Miss(
        0.08, "by instructions, five wrappers that only pass on are a third, the client a quarter"
    ),
    "MCP 2.x tools/call, low-level / CPU of the call": Miss(
        0.15, "by instructions, three such wrappers are a quarter, the client a third"
    ),
}
"""By row and what it is compared with."""


def name_of(item: Result) -> str:
    """Name a row as the baseline does."""
    return f"{item.row} / {item.against}"


def is_known(item: Result) -> bool:
    """Say whether a row misses its limit by no more than is known."""
    miss = MISSES.get(name_of(item))
    return miss is not None and item.ratio.median <= miss.at_most


def told(item: Result) -> str:
    """Say what is known of a miss; empty if nothing is."""
    miss = MISSES.get(name_of(item))
    return "" if miss is None else f" (known: up to {miss.at_most:g}, {miss.why})"
