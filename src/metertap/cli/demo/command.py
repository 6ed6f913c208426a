"""`metertap demo`: start a server, call its tools, show the figures live, and compare them."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from metertap.cli.client import Unreachable, get
from metertap.cli.processes import Process, document_of, registered
from metertap.cli.tables import complain, has_rich, show, to_rich
from metertap.history.answers import HistoryError
from metertap.history.database import open_to_write
from metertap.install_command import install_command
from metertap.runtime import running
from metertap.settings.config_file import expanded
from metertap.tables.costs import tables as tables_of_costs
from metertap.tables.document import Document
from metertap.tables.figures import tables
from metertap.tables.table import Table

_METERTAP_RUN = (sys.executable, "-m", "metertap", "run", "--")
_REFRESH_SECONDS = 0.5
_START_SECONDS = 30.0
_SETTLE_SECONDS = 5.0
_LAST_CALLS_SECONDS = 30.0
_BUSY_SECONDS = 5.0


def demo(
    *, duration: float | None, port: int, history: str | None, release: str, costs: bool = False
) -> int:
    """Run the demo for `duration` seconds or until Ctrl-C, and compare the figures at its end.

    Returns exit status 1 if they disagree. `history` is a file for the measurements, `release`
    the version of the server.
    """
    needed = ("mcp", "uvicorn", *(("genai_prices",) if costs else ()))
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"metertap demo: {' and '.join(missing)} cannot be imported: "
            f"{install_command('demo')}\n"
        )
        return 1
    if duration is not None and not duration > 0:  # and not NaN
        sys.stderr.write("metertap demo: --duration takes a number of seconds above 0\n")
        return 2
    if history is not None:
        try:
            open_to_write(expanded(history), _BUSY_SECONDS).close()
        except HistoryError as error:
            complain("demo", f"no history can be kept there: {error}")
            return 1
    collector = _collector()
    sys.stdout.write("starting an MCP server and a client for it …\n")
    sys.stdout.flush()
    try:
        with _server(port, collector, history, release, costs) as (server, url):
            totals = asyncio.run(_drive(server, url, duration, costs))
        if totals is None:
            return 1
        if collector is not None:
            from metertap.cli.demo.agreement import of_otlp

            totals["OTLP collector"] = of_otlp(collector.outcomes())
    finally:
        if collector is not None:
            collector.stop()
    if history is not None:
        sys.stdout.write(f"Kept in {history}: metertap regressions --history {history}\n")
    return _agreement(totals)


def _collector() -> Any:
    """Start the demo's own collector, unless the user has one or OTLP is not installed."""
    if any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ):
        return None
    if importlib.util.find_spec("opentelemetry.exporter.otlp") is None:
        return None
    from metertap.cli.demo.collector import Collector

    collector = Collector()
    collector.start()
    return collector


@contextmanager
def _server(
    port: int, collector: Any, history: str | None, release: str, costs: bool
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    environment = dict(os.environ)
    given = environment.get("OTEL_RESOURCE_ATTRIBUTES")
    version = f"service.version={release}"
    environment["OTEL_RESOURCE_ATTRIBUTES"] = f"{version},{given}" if given else version
    if history is not None:
        environment["METERTAP_HISTORY"] = history
    environment.setdefault("PROMETHEUS_ENABLED", "true")
    environment.setdefault("OTEL_SERVICE_NAME", "metertap-demo")
    if collector is not None:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
        environment["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
        environment["OTEL_METRIC_EXPORT_INTERVAL"] = "1000"
    # The working directory is not part of the demo: import nothing from it.
    environment["PYTHONSAFEPATH"] = "1"
    server = subprocess.Popen(  # noqa: S603  # this Python, and our modules
        [
            *(*_METERTAP_RUN, sys.executable, "-m", "metertap.cli.demo.server"),
            *(str(port), release, *(["costs"] if costs else [])),
        ],
        stdin=subprocess.PIPE,  # closing it ends the server, however the demo ends
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # Ctrl-C ends the demo, which then ends the server
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url:
            raise SystemExit("metertap demo: the demo's server did not start")
        yield server, url
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


async def _drive(
    server: subprocess.Popen[str], url: str, duration: float | None, costs: bool
) -> dict[str, Any] | None:
    from metertap.cli.demo import agreement
    from metertap.cli.demo.client import DemoClient

    client = DemoClient(url, costs=costs)
    work = asyncio.create_task(client.run())
    addresses = await _addresses(server.pid)
    _show_addresses(url, addresses)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, client.end)
    # OTEL_SERVICE_NAME may give the service another name.
    process = registered(addresses)
    deadline = None if duration is None else time.monotonic() + duration
    with _live() as show_document:
        while not work.done():
            if deadline is not None and time.monotonic() >= deadline:
                client.end()
                if time.monotonic() >= deadline + _LAST_CALLS_SECONDS:
                    raise SystemExit("metertap demo: the demo's server does not answer any more")
            show_document(await asyncio.to_thread(_document, process), client.total)
            await asyncio.wait([work], timeout=_REFRESH_SECONDS)
    await work
    document = await _settled(process)
    prometheus = await asyncio.to_thread(
        get, addresses.prometheus_url or "", "/metrics", process.credentials
    )
    show(tables(document, name=process.name, pid=process.pid, url=process.url))
    spent = document.get("cost_metrics")
    if spent is not None:
        show(tables_of_costs(spent))
    return {
        "client": agreement.of_client(client.counts),
        "JSON document": agreement.of_document(document),
        "Prometheus": agreement.of_prometheus(prometheus.decode()),
    }


async def _addresses(pid: int) -> running.Running:
    """Return the addresses of the server's endpoints, which it registers when it binds them."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        for found in running.running():
            if found.pid == pid and found.json_url and found.prometheus_url:
                return found
        await asyncio.sleep(0.05)
    raise SystemExit("metertap demo: the server's endpoints did not come up")


def _show_addresses(url: str, addresses: running.Running) -> None:
    sys.stdout.write(
        f"Live page   {addresses.json_url}/\n"
        f"MCP server  {url}\n"
        f"JSON        {addresses.json_url}/metrics\n"
        f"Prometheus  {addresses.prometheus_url}/metrics\n\n"
    )
    sys.stdout.flush()


def _document(process: Process) -> Document:
    try:
        return document_of(process)
    except Unreachable as error:
        raise SystemExit(f"metertap demo: {error}") from None


async def _settled(process: Process) -> Document:
    """Wait until the server has noticed the last cancelled call, and return its document."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        document = await asyncio.to_thread(_document, process)
        active = document["system_metrics"]["concurrent_requests"]
        if not active or time.monotonic() > deadline:
            return document
        await asyncio.sleep(0.05)


@contextmanager
def _live() -> Iterator[Any]:
    """Yield a function that shows a document: in place on a terminal, else as a line a second."""
    if has_rich() and sys.stdout.isatty():
        from rich.console import Group
        from rich.live import Live

        with Live(auto_refresh=False, transient=True) as live:

            def in_place(document: Document, _calls: int) -> None:
                parts = [part for table in tables(document) for part in (to_rich(table), "")]
                live.update(Group(*parts), refresh=True)

            yield in_place
        return
    told = 0.0

    def a_line(document: Document, calls: int) -> None:
        nonlocal told
        if time.monotonic() - told >= 1:
            told = time.monotonic()
            uptime = document["system_metrics"]["uptime_seconds"]
            failed = sum(tool["failed_calls"] for tool in document["tool_metrics"].values())
            sys.stdout.write(f"{uptime:6.1f} s  {calls} calls, {failed} failed\n")
            sys.stdout.flush()

    yield a_line


def _agreement(totals: dict[str, Any]) -> int:
    table = Table(
        "What the client counted, and what was published",
        ("counted by", "calls", "ok", "failed", "cancelled", "caller's error"),
        right=frozenset({"calls", "ok", "failed", "cancelled", "caller's error"}),
    )
    for name, found in totals.items():
        numbers = (found.calls, found.ok, found.failed, found.cancelled, found.refused)
        table.rows.append((name, *(str(number) for number in numbers)))
    show([table])
    if len(set(totals.values())) == 1:
        sys.stdout.write("All figures agree.\n")
        return 0
    sys.stdout.write("The figures DISAGREE: please report this with the table above.\n")
    return 1
