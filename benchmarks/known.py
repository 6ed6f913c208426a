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
        4.2, "a third is the context variable by which a cache finds its tool, a sixth the frame"
    ),
    "@metertap.tool / the seed's collector": Miss(
        1.7, "the same two, which the collector that is called by hand lacks"
    ),
    "a configured line / closure, 2 clocks + append": Miss(
        4.2, "as @metertap.tool, and what it returns may be a coroutine that is run later"
    ),
    "a configured line, async / async closure": Miss(4.2, "as @metertap.tool"),
    "@metertap.tool, plain function / wrapt + SDK": Miss(0.06, "see @metertap.tool"),
    "cache hit, outside a tool / singleton": Miss(0.8, "the call in progress is looked for"),
    "metertap run, first answer, MCP server / 30 ms over bare": Miss(
        3.0, "87 modules of metertap are imported and nine methods patched, and Python starts twice"
    ),
    "instrument(), nothing to patch / 30 ms": Miss(
        2.0, "116 modules are imported, with 15 dataclasses and 24 named tuples that are made then"
    ),
    "model call, openai / 50 µs": Miss(
        1.2, "56 functions; measured beside other programs, which made all of Python half as fast"
    ),
    "LangChain tool.invoke / time of the call": Miss(0.015, "three patches pass the call on"),
    "LangChain tool without a schema / time of the call": Miss(0.03, "the same, of less"),
    "pydantic-ai tool call / time of the call": Miss(0.03, "the cheapest call that there is"),
    "MCP 2.x tools/call, MCPServer / CPU of the call": Miss(
        0.08, "1,130 instructions of Python's, 250 of them for the size of what is answered"
    ),
    "MCP 2.x tools/call, low-level / CPU of the call": Miss(
        0.14, "940 instructions of Python's, 250 of them for the size of what is answered"
    ),
    "MCP 1.x tools/call, MCPServer / CPU of the call": Miss(
        0.05, "the same, by seven patched methods"
    ),
    "MCP 1.x tools/call, low-level / CPU of the call": Miss(
        0.07, "the same, by seven patched methods"
    ),
    "generator, a call / 3 µs": Miss(
        2.0, "two set-ups of a generator, the driver's and its own, and a proxy of wrapt"
    ),
    "async generator, a call / 3 µs": Miss(2.5, "the same, and the event loop's hooks"),
    "async generator, an item / 0.35 µs": Miss(1.15, "an awaited step more for each item"),
    "lookup, cashews, in memory / 1.5 µs": Miss(
        1.7,
        "18,000 instructions, 6,700 of them the coroutine that any middleware is",
    ),
    "lookup, aiocache, in memory / 1.5 µs": Miss(
        2.8,
        "14,800 instructions, 2,900 of them the least that a function around it takes",
    ),
    "lookup, Django's locmem / 1.5 µs": Miss(
        1.7,
        "17,400 instructions, 2,000 of them the least; a backend may ask its parent class, so each "
        "lookup is an object that both see",
    ),
    "lookup, diskcache / CPU of the lookup": Miss(
        0.45,
        "12,200 instructions where the lookup takes 38,000; a function around it that does "
        "nothing takes 2,200, and is over the limit",
    ),
    "lookup, redis GET / CPU of the lookup": Miss(
        0.2,
        "12,300 instructions where the client takes 172,000; a function around it takes 3,400",
    ),
    "… while documents are asked for / 1 MB": Miss(
        2.1, "a sorted copy of each window, 8 kB, so that who asks again sorts nothing"
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
