"""The files that one call, lookup, alert or setting passes: `python -m benchmarks.trips`.

A file is on the way if one of its functions runs during a call, or runs more often when a view is
read that shows the call than when one is read that does not. Left out are files of constants, which
no function runs in, and those that guard all code, or all threads. Code that a wrapper is made of
counts for the file that writes it. A setting passes the files of which a function holds its value;
those that hand on all settings together are not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import operator
import os
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import cachetools
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from benchmarks import mcp
from metertap.alerts import counters
from metertap.alerts.evaluator import Evaluator
from metertap.patching import parameters
from metertap.runtime.alert_watch import AlertWatch
from metertap.settings import settings
from metertap.state import recorder

_ROOT = Path(__file__).parents[1]
_OURS = tuple(f"{_ROOT / room}/" for room in ("src", "instrumentation", "exporters"))
_TIMES = 3
"""How often a call or lookup is followed."""
_EVERYWHERE = ("faults.py", "locks.py", "state.py", "/threads.py", "/signal_mask.py")

Runs = Counter[tuple[str, str]]
"""How often each function ran, by file and name."""


@contextlib.contextmanager
def counted() -> Iterator[Runs]:
    """Count how often functions of ours run, in this thread and in those that it starts."""
    runs: Runs = Counter()

    def entered(frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        file = parameters.__file__ if code.co_filename == parameters.FILE else code.co_filename
        if event == "call" and file.startswith(_OURS) and not file.endswith(_EVERYWHERE):
            runs[str(Path(file).relative_to(_ROOT)), code.co_name] += 1

    threading.setprofile(entered)
    sys.setprofile(entered)
    try:
        yield runs
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def files(*parts: Runs) -> list[str]:
    """Return the files of these functions, in the order in which they first ran."""
    return list(dict.fromkeys(file for part in parts for file, _ in part))


async def of_call(read: Callable[[], object], is_view: bool) -> list[str]:
    """Follow an MCP `tools/call` of a client and a low-level server in memory, up to `read`.

    A view shows earlier calls each time; it is compared with one from before the first.
    """
    metertap.record_tool_call("other", True, 1.0)
    idle = read_twice(read)
    async with mcp.connected(mcp._low_level()) as client:
        for _ in range(20):  # the first ones look up what the others find
            await client.call_tool("work", {"number": 1})
        again = read_twice(read)
        both = []
        for _ in range(_TIMES):
            with counted() as during:
                await client.call_tool("work", {"number": 1})
            with counted() as reading:
                read()
            both.append((during, reading))
    during, reading = each_time(both)
    return files(during, reading - (idle if is_view else again))


def each_time(both: Sequence[tuple[Runs, Runs]]) -> tuple[Runs, Runs]:
    """Return what ran each time, in the work and in the reading after it.

    A reading or a thread of metertap's looks for new caches now and then, which is no part of it.
    """
    during, reading = (functools.reduce(operator.and_, runs) for runs in zip(*both, strict=True))
    return during, reading


def read_twice(read: Callable[[], object]) -> Runs:
    """Return what runs in a reading that is not the first."""
    read()
    with counted() as runs:
        read()
    return runs


def of_lookup() -> list[str]:
    """Follow a lookup in a cache of cachetools, up to the document."""
    with metertap.instrument(json_endpoint=False) as tap:
        metertap.record_tool_call("other", True, 1.0)
        idle = read_twice(tap.snapshot)
        cache = cachetools.LRUCache[str, int](8)
        cache["a"] = 1
        assert cache["a"] == 1
        tap.snapshot()
        both = []
        for _ in range(_TIMES):
            with counted() as during:
                assert cache["a"] == 1
            with counted() as reading:
                tap.snapshot()
            both.append((during, reading))
        during, reading = each_time(both)
        return files(during, reading - idle)


class _Webhook(BaseHTTPRequestHandler):
    told: threading.Event

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.told.set()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def of_alert() -> list[str]:
    """Follow a threshold that is passed, from the counters to the bytes that a webhook gets.

    It is compared with an evaluation of the same tool, whose calls go well.
    """
    _Webhook.told = threading.Event()
    server = HTTPServer(("127.0.0.1", 0), _Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "metertap.toml")
        config.write_text('[tool.metertap.alerts]\nfor = "0s"\nsuccess_objective = false\n')
        environ = {"METERTAP_CONFIG": str(config)}
        url = f"http://127.0.0.1:{server.server_port}/"
        given = settings.read({"alert_webhook_url": url}, environ)
    watch = AlertWatch(given, recorder(), lambda: {"name": "shop"}, lambda _seconds: None)
    evaluator = Evaluator(watch.thresholds, 15.0, 0.0, counters.read(recorder()))
    record = functools.partial(metertap.record_tool_call, "search")
    for _ in range(100):
        record(True, 1.0)
    watch._look(evaluator)
    with counted() as idle:
        watch._look(evaluator)
    for _ in range(100):
        record(False, 1.0, "ValueError")
    with counted() as reading:
        now = counters.read(recorder())
    assert now.tools
    with counted() as during:
        watch._look(evaluator)
        assert _Webhook.told.wait(10.0)
    watch.close()
    server.shutdown()
    server.server_close()
    return files(Counter(run for run in reading if run[1] == "read"), during - idle)


def of_setting() -> list[str]:
    """Follow the value of an environment variable, up to the socket that listens on it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    passed: Runs = Counter()

    def entered_or_left(frame: FrameType, event: str, _argument: Any) -> None:
        for one in (frame, frame.f_back):
            if one is None or event.startswith("c_"):
                continue
            code = one.f_code
            if code.co_filename.startswith(_OURS) and _holds(one, port):
                passed[str(Path(code.co_filename).relative_to(_ROOT)), code.co_name] += 1

    with mock.patch.dict(os.environ, METRICS_JSON_PORT=str(port)):
        threading.setprofile(entered_or_left)
        sys.setprofile(entered_or_left)
        try:
            with metertap.instrument() as tap:
                metertap.record_tool_call("other", True, 1.0)
                tap.snapshot()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return files(passed)


def _holds(frame: FrameType, port: int) -> bool:
    names = frame.f_locals.keys() & {*frame.f_code.co_varnames, *frame.f_code.co_cellvars}
    held = [frame.f_locals[name] for name in names]
    return any(type(value) in {int, str} and value in {port, str(port)} for value in held)


def trips() -> Iterator[tuple[str, list[str]]]:
    """Follow each, one after the other."""
    logging.getLogger("mcp").setLevel(logging.WARNING)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    for where, read, is_view in (
        ("the SDK's histograms", reader.get_metrics_data, False),
        ("the document", metertap.get_all_metrics, True),
    ):
        with metertap.instrument(json_endpoint=False, meter_provider=provider):
            yield f"MCP tools/call to {where}", asyncio.run(of_call(read, is_view))
        metertap.reset()
    for title, follow in (
        ("cachetools lookup to the document", of_lookup),
        ("counters to an alert at a webhook", of_alert),
        ("METRICS_JSON_PORT to its socket", of_setting),
    ):
        yield title, follow()
        metertap.reset()


def main() -> None:
    """Print the files of each trip."""
    for title, passed in trips():
        print(f"{len(passed):>3}  {title}")
        print("".join(f"       {file}\n" for file in passed))


if __name__ == "__main__":
    main()
