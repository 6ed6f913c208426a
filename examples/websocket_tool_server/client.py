"""Calls the server over several connections, counts the replies, and compares the two counts.

    python client.py ws://127.0.0.1:PORT http://127.0.0.1:9109/metrics

The exit status is 1 if the server's document differs. The client's latencies are those of whole
requests, so they are upper bounds of the latencies that were measured in the server.
"""

import asyncio
import json
import statistics
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

CONNECTIONS = 4
ROUNDS = 12
DOCUMENTS = ("prices", "terms", "prices", "manual", "map", "terms")
QUESTIONS = (
    "How do I reset my password?",
    "Where is my parcel?",
    "I forgot my password, how can I reset it?",
)
CALLER_ERRORS = {"UnknownTool", "BadArguments"}


class Account:
    """The outcomes, latencies and lookups that the client has counted."""

    def __init__(self) -> None:
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.latencies: defaultdict[str, list[float]] = defaultdict(list)  # in ms
        self.lookups: defaultdict[str, Counter[str]] = defaultdict(Counter)

    async def call(self, connection: ClientConnection, tool: str, **arguments: Any) -> Any:
        started = time.perf_counter()
        await connection.send(json.dumps({"tool": tool, "arguments": arguments}))
        reply = json.loads(await connection.recv())
        milliseconds = (time.perf_counter() - started) * 1000
        error, result = reply.get("error"), reply.get("result")
        name = "_OTHER" if error == "UnknownTool" else tool  # made-up names have one row
        if error in CALLER_ERRORS:
            outcome = "caller_errors"
        elif error == "TimeoutError":  # the server cancelled it
            outcome = "cancelled_calls"
        else:
            failed = error or (isinstance(result, dict) and "error" in result)
            outcome = "failed_calls" if failed else "successful_calls"
            self.latencies[name].append(milliseconds)
        self.outcomes[name][outcome] += 1
        if isinstance(result, dict) and "cached" in result:
            cache = {"read": "file_cache", "ask": "semantic_cache"}[tool]
            self.lookups[cache]["hits" if result["cached"] else "misses"] += 1
        return result


class Comparison:
    """The differences between the client's counts and the server's document."""

    def __init__(self) -> None:
        self.differences: list[str] = []

    def equal(self, what: str, seen: Any, documented: Any) -> None:
        if seen != documented:
            self.differences.append(f"{what}: {seen} seen, {documented} in the document")

    def between(self, what: str, least: float, documented: float | None, most: float) -> None:
        if documented is None or not least <= documented <= most:
            self.differences.append(f"{what}: {documented}, but {least:.3f} to {most:.3f} ms seen")


async def work(account: Account, connection: ClientConnection, tools: list[str]) -> None:
    """Send all requests of one connection, one after the other."""
    for number in range(ROUNDS):
        assert await account.call(connection, "add", a=number, b=1) == number + 1
        await account.call(connection, "read", document=DOCUMENTS[number % len(DOCUMENTS)])
        await account.call(connection, "forecast")
        await account.call(connection, "exchange", amount=10, currency=("NOK", "XXX")[number % 2])
        if number % 4 == 0:
            await account.call(connection, "search_archive", words="since 1990")
            await account.call(connection, f"made_up_{number}")
            await account.call(connection, "add", a=number)
            if "ask" in tools:
                question = QUESTIONS[number // 4 % len(QUESTIONS)]
                await account.call(connection, "ask", question=question)


async def main(server: str, metrics: str) -> int:
    account, comparison = Account(), Comparison()

    def fetch() -> Any:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(metrics) as answer:
            return json.load(answer)

    async def fetch_when(true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first document whose system metrics fulfil `true`, or the one after 10 s."""
        deadline = time.monotonic() + 10
        while True:
            document: dict[str, Any] = await asyncio.to_thread(fetch)
            if true(document["system_metrics"]) or time.monotonic() > deadline:
                return document
            await asyncio.sleep(0.02)

    async with AsyncExitStack() as stack:
        first, *others = [
            await stack.enter_async_context(connect(server, proxy=None))
            for _ in range(CONNECTIONS + 1)
        ]
        tools = await account.call(first, "tools")
        await asyncio.gather(*(work(account, connection, tools) for connection in others))

        # All connections but the first wait for news, so that as many requests are in progress.
        waiting = [asyncio.create_task(account.call(other, "news")) for other in others]
        document = await fetch_when(lambda system: system["concurrent_requests"] == CONNECTIONS)
        all_wait_since = time.perf_counter()
        system = document["system_metrics"]
        comparison.equal("concurrent_requests", CONNECTIONS, system["concurrent_requests"])
        comparison.equal("active_sessions", CONNECTIONS + 1, system["active_sessions"])
        comparison.equal("news active_calls", CONNECTIONS, _tool(document, "news")["active_calls"])
        await asyncio.sleep(0.05)
        held = (time.perf_counter() - all_wait_since) * 1000
        assert await account.call(first, "publish", text="hello") == CONNECTIONS
        assert await asyncio.gather(*waiting) == ["hello"] * CONNECTIONS
        document = await asyncio.to_thread(fetch)
        system = document["system_metrics"]
        comparison.equal("concurrent_requests at rest", 0, system["concurrent_requests"])
        comparison.equal("active_sessions", CONNECTIONS + 1, system["active_sessions"])

    compare(account, document, comparison)
    shortest, longest = _tool(document, "news")["min_latency_ms"], max(account.latencies["news"])
    comparison.between("news min_latency_ms", held, shortest, longest)
    document = await fetch_when(lambda system: system["active_sessions"] == 0)
    comparison.equal(
        "active_sessions once all are closed", 0, document["system_metrics"]["active_sessions"]
    )
    if "ask" not in tools:
        print("semantic_cache: left out (the server has no embedding model)")
    for difference in comparison.differences:
        print(f"DIFFERENT: {difference}")
    if not comparison.differences:
        calls = sum(sum(outcomes.values()) for outcomes in account.outcomes.values())
        print(f"all the same: {calls} calls over {CONNECTIONS + 1} connections")
    return 1 if comparison.differences else 0


def compare(account: Account, document: dict[str, Any], comparison: Comparison) -> None:
    """Compare the client's counts with the document, and print both."""
    kinds = ("successful_calls", "failed_calls", "caller_errors", "cancelled_calls")
    print(
        f"{'tool':<16}{'calls':>6}{'failed':>8}{'caller':>8}{'cancelled':>11}"
        f"{'p50 here / there':>22}{'p95 here / there, ms':>24}"
    )
    for name in sorted(account.outcomes):
        seen, documented = account.outcomes[name], _tool(document, name)
        for kind in kinds:
            comparison.equal(f"{name} {kind}", seen[kind], documented[kind])
        comparison.equal(f"{name} total_calls", seen.total(), documented["total_calls"])
        latencies = account.latencies[name]
        comparison.equal(f"{name} window_samples", len(latencies), documented["window_samples"])
        row = f"{name:<16}{seen.total():>6}{seen['failed_calls']:>8}"
        row += f"{seen['caller_errors']:>8}{seen['cancelled_calls']:>11}"
        if latencies:
            longest = documented["max_latency_ms"]
            comparison.between(f"{name} max_latency_ms", 0, longest, max(latencies))
        if len(latencies) >= 2:
            of_hundred = statistics.quantiles(latencies, n=100)
            for percentile, width in ((50, 22), (95, 24)):
                here, there = of_hundred[percentile - 1], documented[f"p{percentile}_latency_ms"]
                # With few samples a percentile is extrapolated beyond the longest call, and the
                # client's figure is then no upper bound.
                if f"p{percentile}" not in documented["extrapolated"]:
                    comparison.between(f"{name} p{percentile}_latency_ms", 0, there, here)
                row += f"{here:.3f} / {'-' if there is None else format(there, '.3f')}".rjust(width)
        print(row)
    comparison.equal("tools", sorted(account.outcomes), sorted(_called(document)))
    comparison.equal(
        "total_requests",
        sum(outcomes.total() for outcomes in account.outcomes.values()),
        document["system_metrics"]["total_requests"],
    )
    for name, lookups in account.lookups.items():
        cache = document["cache_metrics"].get(name, {})
        print(f"{name}: {lookups['hits']} hits, {lookups['misses']} misses")
        for kind in ("hits", "misses"):
            comparison.equal(f"{name} {kind}", lookups[kind], cache.get(kind))


def _tool(document: dict[str, Any], name: str) -> defaultdict[str, Any]:
    """Return the document's figures of a tool, each None if the document does not have the tool."""
    return defaultdict(lambda: None, document["tool_metrics"].get(name, {}))


def _called(document: dict[str, Any]) -> list[str]:
    return [name for name, tool in document["tool_metrics"].items() if tool["total_calls"]]


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:3])))
