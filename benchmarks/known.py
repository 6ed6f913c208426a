"""Rows that are known to miss their limit: by how much at most, and what the profile shows.

Instructions of Python's are those that `python -m benchmarks.instructions` counts, on CPython 3.11.
Those of the machine are callgrind's, which counts what C functions do as well.

Limits in milli- and microseconds depend on the machine. On the fastest of those that were used
(`@metertap.tool` takes 0.4 µs there, and 0.6 elsewhere) these rows are within their limits: lines
of configuration, `instrument()`, generators, streamed model calls, the page and diskcache.
"""

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
        4.1,
        "88 instructions of Python's, which are 6,500 of the machine's where the floor takes "
        "2,300: 2,700 of them the list in a context variable by which a cache, a model's client "
        "or a call inside finds its tool, 600 the share of a fold (both are rows below), 400 the "
        "tick that `active` and folds are counted by. Without the variable it is 1.7 to 1.9 times "
        "the floor; a call in which something asks for the first time in the process would then "
        "not be found in a thread or task of it. One object for all calls of a context would be "
        "the thread's or the task's that the call has started as well: nothing tells that a "
        "context was copied. The least that any decorator can do, with variable, tick and fold "
        "and without a guard, is a row below: 2.4 to 2.8 times the floor, over the limit",
    ),
    "@metertap.tool / the seed's collector": Miss(
        1.6,
        "the same three, which the collector that is called by hand lacks: the least that any "
        "decorator can do is 0.95 to 1.1 times the collector, over the limit",
    ),
    "a configured line / closure, 2 clocks + append": Miss(
        3.8,
        "as @metertap.tool, whose least is 2.4 to 2.8, and 340 instructions to see that what it "
        "returns is no coroutine or generator, which is run later",
    ),
    "a configured line, async / async closure": Miss(
        3.5, "2.4 by instructions, and the clock, the list and the variable wait for memory"
    ),
    "@metertap.tool, plain function / wrapt + SDK": Miss(0.06, "see @metertap.tool"),
    "cache hit, outside a tool / singleton": Miss(0.8, "the call in progress is looked for"),
    "metertap run, first answer, MCP server / 30 ms over bare": Miss(
        3.0,
        "30.5 and 44 ms on the fastest machine, 46 on another: 94 million instructions of the "
        "machine's in the program, where the server alone takes 2,800: 84 modules of recording, "
        "settings, patching and MCP are found, read and run, none of which can wait, for the "
        "request that is answered is measured. Before that, Python starts for the command, which "
        "takes 9 ms whatever the command is",
    ),
    "instrument(), nothing to patch / 30 ms": Miss(
        1.5,
        "22 to 25 ms on the fastest machine: 97 million instructions of the machine's, most of "
        "them the import of 130 modules, each of which is found, read and run; as many in which "
        "there is nothing take 5 ms there (the row of that name). None can wait: no thread of ours "
        "imports anything, and a scrape may come at any time. 32 named tuples and a dataclass are "
        "made then, and the SDK's way of recording is compared with ours on two providers. 33 ms "
        "elsewhere, where others run beside it, 45 where many do; 2 of them are the look for "
        "garbage among what is new",
    ),
    "model call, openai, whole and streamed / 50 µs": Miss(
        1.3,
        "47 to 54 µs in eight runs, which is at the limit: as much as a call that does not stream, "
        "and 1.3 µs for the look at each of eleven chunks",
    ),
    "LangChain tool.invoke / time of the call": Miss(
        0.018,
        "1.5 % (1.8 µs) on an idle machine: 478 instructions of Python's, with all three methods "
        "that are wrapped. "
        "A wrapper that does nothing takes 0.4 µs (0.2 % of the call): the rest is ours. 130 of "
        "the 478 are the three functions that stand for the methods, 200 begin and end a call "
        "and find its tool, 90 tell when its own code runs, 50 weigh what it returned",
    ),
    "LangChain tool.ainvoke / time of the call": Miss(0.018, "the same"),
    "LangChain tool without a schema / time of the call": Miss(0.03, "the same, of less"),
    "pydantic-ai tool call / time of the call": Miss(
        0.04,
        "2.7 % (1.4 µs) of the cheapest call that there is, without a model: two wrappers that do "
        "nothing around the two methods take 0.8 µs, which is 1.6 % and over the limit; in a turn "
        "of an agent it is 0.1 %",
    ),
    "JSON document, 100 tools × 100 / singleton": Miss(
        2.0,
        "1.3 to 1.4; the gap is ours. By callgrind a document takes 31 million "
        "instructions of the machine's and the other one 36, which spends four fifths of its time "
        "in one loop of statistics.quantiles, while ours does many different things for each tool. "
        "Of 4.2 ms, 1.1 are the new samples of each tool, 0.7 of these the histograms, which a "
        "document does not show; 1.4 are figures, 0.5 of these percentiles; 0.5 the document's "
        "entries and names, 0.9 json.dumps of twice the text. To make figures apart from folding "
        "saved a quarter; to update histograms when they are collected would save 0.7 ms, and "
        "reach about 1.3",
    ),
    "the page open, 200 tools, 20 active / a core": Miss(
        0.04,
        "5 to 6 ms in four runs, 12 to 35 in others on an idle machine: what runs once a second "
        "waits for memory, and shares that with other machines of the same host. When it took 60, "
        "seconds in which nobody asked took five times as long as well, and a loop in the "
        "processor's caches no longer than before. Of it 1.2 are a connection, a thread and "
        "the parsing of a request (what /healthz takes); of the other 4, 1.1 write and "
        "join 150 kB of which nine tenths are kept, and 2.5 are figures, most of them the new "
        "samples of 20 tools and a look at whether anything has changed in 180",
    ),
    "MCP 2.x tools/call, MCPServer / CPU of the call": Miss(
        0.14,
        "755 instructions of Python's: those of the low-level server, and two patched methods that "
        "tell when the handler runs and what it raised. When they were 1,012, without the "
        "handler's thread, in a quiet run 11.6 %, they were 72,000 of the machine's, where the "
        "call takes 1.4 million (5.1 %). Functions that do nothing around the same five methods "
        "take 13,000 (0.9 %). The least (the row of that name, as below) takes 34,000 (2.4 %) "
        "and 318 of Python's: over the limit by the "
        "machine's already, and in time they count more. The rest of the gap is ours, as below",
    ),
    "MCP 2.x tools/call, low-level / CPU of the call": Miss(
        0.11,
        "569 instructions of Python's; when they were 602, they were 37,500 of the machine's where "
        "the call takes 860,000 (4.4 %; in time they count twice, for the call's own are in a hot "
        "loop). "
        "Functions that do nothing around the same three methods take 2,300 (0.3 %), two of them "
        "with clocks and an append 7,800 (0.9 %). The least that keeps what metertap promises, "
        "written by hand in one function a method and without a guard, takes 230 and 18,200 "
        "(2.2 %), which is 4.1 to 5.1 % in time: over the limit. The other 19,000 are ours: 17,200 "
        "of all are the interpreter's loop, 4,500 frames and objects, 4,100 sums, order and "
        "windows in the fold. docs/performance.md tells what each function takes",
    ),
    "mcp calls in place, 2.x MCPServer / CPU of the call": Miss(
        0.055, "3.1 to 3.8 % in nine runs; as the row of whole calls"
    ),
    "mcp calls in place, 2.x low-level / CPU of the call": Miss(
        0.07,
        "4.3 to 5.4 % in six runs on one machine, 10 to 11 µs; 6.4 to 6.6 % on a faster one, 6.2 "
        "µs of a call that takes 96 there; as the row of whole calls. Half of it is around "
        "`_on_request`, two fifths around the client's `send_request`",
    ),
    "mcp calls in place, 1.x MCPServer / CPU of the call": Miss(
        0.03,
        "1.8 and 2.1 % in two runs beside other programs: about the limit, by nine patched methods",
    ),
    "MCP 1.x tools/call, MCPServer / CPU of the call": Miss(
        0.085,
        "1,264 instructions of Python's, by nine patched methods; inside the call, which is "
        "steadier, that is about the limit (the row `mcp calls in place`)",
    ),
    "MCP 1.x tools/call, low-level / CPU of the call": Miss(
        0.068,
        "966 instructions of Python's, by six patched methods; when they were 1,199 they were "
        "95,000 of the machine's, 3.0 % of the call's 3.2 million. Functions that do nothing "
        "around the same methods take 4,700",
    ),
    "generator, a call / 3 µs": Miss(
        1.1,
        "2.5 µs on an idle machine, with a quartile above the limit: two set-ups of a generator, "
        "the driver's and its own, which with a call that is current in steps alone are 1.1 (the "
        "row of the least), 0.3 of a proxy of wrapt's, by which inspect sees a generator function, "
        "and the time to the first item, 0.3",
    ),
    "async generator, a call / 3 µs": Miss(
        1.4,
        "3.1 µs on an idle machine, 3.3 to 4.0 on a loaded one, of which the least is 1.5: the "
        "same, and the event loop's hooks, which are asked for once and set twice for the first "
        "step, 0.3. Without that the loop would close a generator that is left open twice at once. "
        "The rest of the gap is ours",
    ),
    "async generator, an item / 0.35 µs": Miss(1.1, "an awaited step more for each item"),
    "lookup, diskcache / CPU of the lookup": Miss(
        0.1,
        "2,200 instructions of the machine's where the lookup takes 38,000, 4 to 8 % in two runs: "
        "500 for a function around it that does nothing, 400 for two context variables (does "
        "another cache count this, is a tool in progress), 800 to find the cache's meter by its "
        "identity, 200 to count, 300 to tell a miss. These steps alone, without a fault or a "
        "traceback in mind, are 5.3 %. Only an attribute of ours on the program's cache would save "
        "more, and be seen by it",
    ),
    "lookup, redis GET / CPU of the lookup": Miss(
        0.12,
        "6 to 10 % in four runs, 2.3 to 4 µs: 6,200 instructions of the machine's where the client "
        "takes 172,000 (3.6 %), half of them "
        "a function around it; after the wait for the server they take longer than others",
    ),
    "scrape, 10,000 series / 1,000 series": Miss(
        13.5,
        "12.4 in a run in which prometheus_client's own grew by 11.0: ten times the calls of "
        "functions (1,894,000 and 190,000), and memory. The text is 36 MB, which the allocator "
        "gives back to the system after each scrape and asks for anew, by 8,900 faults of pages "
        "(25 of 400 ms), and 10,000 series no longer fit into the processor's cache",
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
