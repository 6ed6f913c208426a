"""A program with two instrumentations of the SDK: metertap, and the one of another project.

Its arguments are two orders, as in `ours,theirs theirs,ours`: of installing and of undoing. It
prints, for each step, the calls that each of the two saw, and what the client got.
"""

from __future__ import annotations

import asyncio
import json
import sys

from opentelemetry.instrumentation.mcp import McpInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import metertap
from servers.mcp_stacks import Stack, stacks
from servers.mcp_tools import Gate

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))


def install(whose: str) -> None:
    if whose == "ours":
        metertap.instrument(json_endpoint=False)
    else:
        McpInstrumentor().instrument(tracer_provider=provider)


def undo(whose: str) -> None:
    if whose == "ours":
        metertap.uninstrument()
    else:
        McpInstrumentor().uninstrument()


async def call(stack: Stack) -> str:
    async with stack.connect(stack.build(Gate())) as session:
        result = await session.call_tool("fine", {})
        return str(result.content[0].text)


def step(stack: Stack) -> dict[str, object]:
    """One call, and what each of the two has seen in all."""
    text = asyncio.run(call(stack))
    ours = metertap.get_all_metrics()["tool_metrics"].get("fine", {"total_calls": 0})
    theirs = [span for span in spans.get_finished_spans() if span.name == "fine.tool"]
    return {"text": text, "ours": ours["total_calls"], "theirs": len(theirs)}


def main(installing: str, undoing: str) -> None:
    stack = stacks()[0]
    for whose in installing.split(","):
        install(whose)
    steps = [step(stack)]
    for whose in undoing.split(","):
        undo(whose)
        steps.append(step(stack))
    print(json.dumps(steps))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
