"""What a whole MCP `tools/call` costs under other instrumentations of MCP, and under metertap.

Each measures by the way that its own documentation shows: most trace, and make a span of a call,
where metertap records metrics. Spans are made and handed to an exporter that drops them. None can
be undone in a process as metertap can, so each runs in processes of its own, in turn. One that does
not run on the installed version of the SDK, or makes no span of a call, is left out:
`pip install sentry-sdk logfire opentelemetry-instrumentation-mcp`, best into an environment of
their own, since logfire brings a plugin that pydantic loads for every model.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.mcp import MAJOR, SERVERS, spent
from benchmarks.measuring import Ratio, Result, quartile
from benchmarks.process import measured

_CALLS = 300
_FIRST = 100
_BARE, _OURS = "bare", "metertap"

Traced = Callable[[], int]
"""Returns how many spans have been made."""


class _Dropping(SpanExporter):
    """An exporter that counts spans and drops them."""

    def __init__(self) -> None:
        self.count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.count += len(spans)
        return SpanExportResult.SUCCESS


def _provider() -> Traced:
    exporter, provider = _Dropping(), TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=10_000))
    trace.set_tracer_provider(provider)

    def count() -> int:
        provider.force_flush()
        return exporter.count

    return count


def _opentelemetry_mcp() -> Traced:
    from opentelemetry.instrumentation.mcp import McpInstrumentor

    count = _provider()
    McpInstrumentor().instrument()
    return count


def _logfire() -> Traced:
    import logfire

    exporter = _Dropping()
    logfire.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[BatchSpanProcessor(exporter, max_queue_size=10_000)],
    )
    logfire.instrument_mcp()

    def count() -> int:
        logfire.force_flush()
        return exporter.count

    return count


def _sentry() -> Traced:
    import sentry_sdk
    from sentry_sdk.integrations.mcp import MCPIntegration
    from sentry_sdk.transport import Transport

    taken: list[None] = []

    class Dropping(Transport):
        def capture_envelope(self, _envelope: object) -> None:
            taken.append(None)

    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        traces_sample_rate=1.0,
        transport=Dropping,
        integrations=[MCPIntegration()],
    )
    return lambda: len(taken)


_PEERS: dict[str, Callable[[], Traced]] = {
    "the SDK's own spans": _provider,
    "opentelemetry-instrumentation-mcp": _opentelemetry_mcp,
    "logfire.instrument_mcp()": _logfire,
    "sentry's MCPIntegration": _sentry,
}
"""What begins each, by what the table says."""


def calls(rounds: int) -> Iterator[Result]:
    """What each adds to the CPU time of a call of a client and a server in one process."""
    for number, (name, *_) in enumerate(SERVERS):
        seconds: dict[str, list[float]] = {}
        for _ in range(max(5, rounds // 6)):
            for way in (_BARE, _OURS, *_PEERS):
                found = _in_a_process(way, number)
                if found is not None:
                    seconds.setdefault(way, []).append(found)
        bare = seconds.pop(_BARE)
        for way, theirs in seconds.items():
            yield _added(f"MCP {MAJOR}.x, {name}: {way}", theirs, bare)


def _in_a_process(way: str, number: int) -> float | None:
    """Return the CPU seconds of a call, or None if nothing was traced."""
    command = [sys.executable, "-m", "benchmarks.mcp_peers", way, str(number)]
    # An instrumentation of others may begin, and then raise in a call.
    ran = subprocess.run(command, capture_output=True, text=True, check=way in {_BARE, _OURS})
    if ran.returncode:
        return None
    found: float | None = json.loads(ran.stdout.splitlines()[-1])
    return found


def _added(row: str, theirs: list[float], bare: list[float]) -> Result:
    def ratio(of: Callable[[list[float]], float]) -> float:
        return (of(theirs) - of(bare)) / of(bare)

    least, most = sorted((ratio(min), ratio(statistics.median)))
    added = quartile(theirs) - quartile(bare)
    return Result(row, "CPU of the call", Ratio(ratio(quartile), least, most), None, added)


def _run(way: str, number: int) -> float | None:
    logging.getLogger("mcp").setLevel(logging.WARNING)
    build = SERVERS[number][1]
    count: Traced | None = None
    with measured() if way == _OURS else contextlib.nullcontext():
        if way not in {_BARE, _OURS}:
            try:
                count = _PEERS[way]()
            except Exception as error:  # not installed, or made for another version of the SDK
                sys.stderr.write(f"{way}: {error}\n")
                return None
        found = asyncio.run(spent(build, _CALLS, _FIRST))
    return found if count is None or count() >= _CALLS else None


def main() -> None:
    """Print the CPU seconds of a call in this process, or null if nothing was traced."""
    way: Any
    way, number = sys.argv[1:]
    print(json.dumps(_run(way, int(number))))


if __name__ == "__main__":
    main()
