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
        6.2,
        "its slot is looked up, and what it returns may be a coroutine that is run later",
    ),
    "a configured line, async / async closure": Miss(4.8, "the same, and a coroutine more"),
    "@metertap.tool, plain function / wrapt + SDK": Miss(0.06, "see @metertap.tool"),
    "cache hit, outside a tool / singleton": Miss(0.8, "the call in progress is looked for"),
    "metertap run, first answer, MCP server / 30 ms over bare": Miss(
        3.5, "80 modules of metertap are imported and nine methods patched, and Python starts twice"
    ),
    "instrument(), nothing to patch / 30 ms": Miss(
        2.5, "readers, endpoints and process metrics are imported where a port opens at once"
    ),
    "LangChain tool.invoke / time of the call": Miss(0.015, "three patches pass the call on"),
    "LangChain tool without a schema / time of the call": Miss(0.03, "the same, of less"),
    "pydantic-ai tool call / time of the call": Miss(0.03, "the cheapest call that there is"),
    "MCP 2.x tools/call, MCPServer / CPU of the call": Miss(
        0.08, "1,160 instructions of Python's, 290 of them for the size of what is answered"
    ),
    "MCP 2.x tools/call, low-level / CPU of the call": Miss(
        0.14, "970 instructions of Python's, 290 of them for the size of what is answered"
    ),
    "MCP 1.x tools/call, MCPServer / CPU of the call": Miss(
        0.05, "the same, by seven patched methods"
    ),
    "MCP 1.x tools/call, low-level / CPU of the call": Miss(
        0.07, "the same, by seven patched methods"
    ),
    "generator, a call / 3 µs": Miss(
        2.3, "two set-ups of a generator, the driver's and its own, and a proxy of wrapt"
    ),
    "async generator, a call / 3 µs": Miss(2.5, "the same, and the event loop's hooks"),
    "async generator, an item / 0.35 µs": Miss(1.15, "an awaited step more for each item"),
    "import and name instrument() / import of the SDK": Miss(
        1.35, "the modules of metertap that instrument() needs are imported with it"
    ),
    "lookup, cashews, in memory / 1.5 µs": Miss(
        2.2, "its middleware is a coroutine more, and a default of ours tells a stored None"
    ),
    "lookup, aiocache, in memory / 1.5 µs": Miss(
        2.8, "a coroutine more, a default of ours, and the layer for caches below it"
    ),
    "lookup, Django's locmem / 1.5 µs": Miss(
        1.9, "a backend may ask its parent class, so each lookup is an object that both see"
    ),
    "lookup, diskcache / CPU of the lookup": Miss(
        0.5, "a lookup of a small value that SQLite holds in memory takes 5 µs; this adds 1.8"
    ),
    "lookup, redis GET / CPU of the lookup": Miss(
        0.2, "the client's own code takes 35 µs of CPU; this adds 4.6, and the wait adds none"
    ),
    "@metertap.tool, plain function / singleton, by hand": Miss(1.5, "see @metertap.tool"),
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
