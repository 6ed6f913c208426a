"""The server that `benchmarks.workers` runs: a request is some calls of tools, all measured.

`METER` says by what: `metertap`, or `prometheus_client` in its multiprocess mode, which has a
counter by outcome and a histogram of the same buckets, and is scraped at `/metrics`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

TOOLS = int(os.environ.get("TOOLS", "200"))


def _work() -> None:
    """Do what the tool does."""


def _by_metertap() -> list[Callable[[], None]]:
    import metertap

    metertap.instrument()
    return [metertap.tool(name=f"tool {number}")(_work) for number in range(TOOLS)]


def _by_prometheus_client() -> list[Callable[[], None]]:
    from prometheus_client import Counter, Histogram

    from metertap import catalogue

    buckets = catalogue.TOOL_DURATION.buckets
    calls = Counter("tool_calls", "Calls.", ["tool", "outcome"])
    seconds = Histogram("tool_duration_seconds", "Durations.", ["tool"], buckets=buckets)

    def measured(name: str) -> Callable[[], None]:
        counted, timed = calls.labels(name, "ok"), seconds.labels(name)

        def tool() -> None:
            started = time.perf_counter()
            _work()
            timed.observe(time.perf_counter() - started)
            counted.inc()

        return tool

    return [measured(f"tool {number}") for number in range(TOOLS)]


METER = os.environ.get("METER", "metertap")
tools = _by_metertap() if METER == "metertap" else _by_prometheus_client()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Call tools in turn, as many times as the query says; answer with the seconds that took.

    They are this thread's, of the processor.
    """
    if environ["PATH_INFO"] == "/metrics":
        body = _scraped()
    else:
        calls = int(environ["QUERY_STRING"] or 0)
        started = time.thread_time()
        for number in range(calls):
            tools[number % TOOLS]()
        body = f"{os.getpid()} {time.thread_time() - started}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def _scraped() -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
