"""A real stdio MCP server under `metertap run`: the same to its client, and measured."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from servers.otlp_receiver import hanging_collector, receiver, unreachable_endpoint
from support.json_rpc import SESSION, talk
from support.programs import PROGRAMS, RUN, ended, run, started

pytestmark = [pytest.mark.mcp, pytest.mark.programs]

SHOP = (sys.executable, str(PROGRAMS / "shop.py"))
CALLS = {("add", "ok"): 1, ("add", "caller_error"): 1, ("fail", "exception"): 1}

End = Callable[[subprocess.Popen[bytes]], None]
ENDS: dict[str, End] = {
    "EOF": lambda process: None,
    "SIGTERM": lambda process: process.send_signal(signal.SIGTERM),
    "SIGINT": lambda process: process.send_signal(signal.SIGINT),
}


def _session(command: Sequence[str], end: End, **env: str) -> tuple[bytes, int]:
    """What it answered to the whole script, and its status."""
    with started(command, env=env) as process:
        heard = talk(process)
        end(process)
        rest = ended(process)
        return heard + rest.stdout, rest.status


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_the_protocol_is_the_same_to_the_byte_and_what_was_measured_is_flushed(end: End) -> None:
    without = _session(SHOP, end)
    with receiver() as collector:
        measured = _session((*RUN, *SHOP), end, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert measured == without
    assert without[0].count(b"\n") == len([params for _, params in SESSION if params is not None])
    calls = collector.tool_calls()
    assert {key: calls[key] for key in CALLS} == CALLS
    assert collector.service_names() == {"shop"}


def test_a_client_sees_the_same_results_and_errors() -> None:
    async def everything(command: Sequence[str]) -> list[Any]:
        seen: list[Any] = []
        server = StdioServerParameters(
            command=command[0], args=list(command[1:]), env=dict(os.environ)
        )
        async with stdio_client(server, log) as streams, ClientSession(*streams) as session:
            seen.append((await session.initialize()).model_dump())
            seen.append((await session.list_tools()).model_dump())
            for name, arguments in (
                ("add", {"a": 1, "b": 2}),
                ("add", {"a": "one"}),
                ("fail", {"text": "no"}),
                ("no such tool", {}),
            ):
                try:
                    seen.append((await session.call_tool(name, arguments)).model_dump())
                except Exception as error:
                    seen.append((type(error), str(error)))
            try:
                await session.get_prompt("no such prompt")
            except Exception as error:
                seen.append((type(error), str(error)))
        return seen

    with open(os.devnull, "w") as log:
        assert asyncio.run(everything((*RUN, *SHOP))) == asyncio.run(everything(SHOP))


# By os.write: a signal handler that prints may interrupt a print.
READY = "os.write(1, b'ready\\n'); sys.stdin.read()\n"
MEASURES = (
    "import os, signal, sys, time, metertap\nmetertap.record_tool_call('search', True, 1.0)\n"
)


def _until_ready(code: str, **env: str) -> tuple[bytes, int]:
    """Its stdout, and its status after a SIGTERM that came when it was ready."""
    with started([*RUN, sys.executable, "-c", MEASURES + code], env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        rest = ended(process)
        return rest.stdout, rest.status


def test_a_sigterm_handler_of_the_programs_own_is_kept() -> None:
    handler = """
def mine(number, frame):
    os.write(1, b"mine\\n")
    sys.exit(7)
signal.signal(signal.SIGTERM, mine)
"""
    with receiver() as collector:
        ended_as = _until_ready(handler + READY, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert ended_as == (b"mine\n", 7)
    assert collector.tool_calls() == {("search", "ok"): 1}


def test_a_server_that_restores_the_handler_and_raises_the_signal_again_is_flushed() -> None:
    # As uvicorn does: it shuts down in its own way and then dies of the signal.
    server = """
def mine(number, frame):
    signal.signal(number, before)
    os.write(1, b"shut down\\n")
    signal.raise_signal(number)
before = signal.signal(signal.SIGTERM, mine)
"""
    with receiver() as collector:
        ended_as = _until_ready(server + READY, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert ended_as == (b"shut down\n", -signal.SIGTERM)
    assert collector.tool_calls() == {("search", "ok"): 1}


def test_sigterm_ends_a_program_that_holds_the_locks_of_what_is_flushed() -> None:
    # The handler runs in the main thread, in the middle of whatever that was doing.
    holding = """
from metertap import state
from metertap.runtime.tap import active_tap
state.recorder().lock.acquire()
active_tap().pipeline._readers.otlp._changed._cond.acquire()
"""
    with receiver() as collector:
        ended_as = _until_ready(holding + READY, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert ended_as == (b"", -signal.SIGTERM)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("end", ["EOF", "SIGTERM"])
def test_a_collector_that_never_answers_delays_the_end_by_half_a_second(
    end: str, protocol: str
) -> None:
    with hanging_collector() as endpoint:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        with started([*RUN, sys.executable, "-c", MEASURES + READY], env=env) as process:
            assert process.stdout is not None
            process.stdout.readline()
            asked = time.monotonic()
            ENDS[end](process)
            status = ended(process).status
            assert time.monotonic() - asked < 3  # an export itself would wait for ten
    assert status == (0 if end == "EOF" else -signal.SIGTERM)


def test_an_unreachable_collector_is_told_once() -> None:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": unreachable_endpoint(),
        "OTEL_METRIC_EXPORT_INTERVAL": "50",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    with started([*RUN, sys.executable, "-c", MEASURES + READY], env=env) as process:
        assert process.stderr is not None
        assert b"OTEL_EXPORTER_OTLP_ENDPOINT" in process.stderr.readline()
        rest = ended(process)  # which tries once more
    assert (rest.status, rest.stdout, rest.stderr) == (0, b"ready\n", b"")


def test_without_a_collector_sigterm_has_no_handler() -> None:
    code = "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    assert run(*RUN, sys.executable, "-c", code).stdout == b"True\n"
