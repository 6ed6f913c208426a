"""Many MCP servers on stdio, as clients on a desktop start them: `python -m benchmarks.desktop`.

    python -m benchmarks.desktop [--servers 40] [one] [several] [apart]

`one`: all are one service; `several`: five of each service; `apart`: each has a port of its own.
Every server answers some calls. Then the commands and the page are asked for the figures, which
have to be complete. Exits 1 where a server or a call is missing. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from metertap.cli.processes import processes

KINDS = {"one": 0, "several": 5, "apart": 1}
"""Servers in each service; 0 for all."""
_SERVER = """
try:
    from mcp.server import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("shop", log_level="CRITICAL")

@server.tool()
async def price(item: str) -> float:
    return 9.5

server.run()
"""
_BEGIN = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "desktop", "version": "1"},
}
_SECONDS = 120.0
_WAIT = 0.1


class Client:
    """A client of one server, which it has started."""

    def __init__(self, process: subprocess.Popen[str], service: str) -> None:
        self.process = process
        self.service = service
        self._number = 0

    def begin(self) -> None:
        """Begin a session, without waiting for the server."""
        self._send("initialize", _BEGIN)

    def call(self, calls: int) -> None:
        """Call the tool so many times."""
        for _ in range(calls):
            self._send("tools/call", {"name": "price", "arguments": {"item": "tea"}})
            self.answer()

    def answer(self) -> None:
        """Wait for the answer to the last request."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            found = json.loads(line)
            if found.get("id") == self._number:
                assert "result" in found, found
                return
        raise EOFError("a server has ended")

    def began(self) -> None:
        """Finish what `begin` began."""
        self.answer()
        self._write({"method": "notifications/initialized"})

    def _send(self, method: str, params: dict[str, Any]) -> None:
        self._number += 1
        self._write({"id": self._number, "method": method, "params": params})

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()


@contextmanager
def desktop(servers: int, each: int, folder: Path) -> Iterator[list[Client]]:
    """Start servers, so many of `each` service, and one call of each."""
    (folder / "shop.py").write_text(_SERVER)
    command = [sys.executable, "-m", "metertap", "run", "--", sys.executable, "shop.py"]
    with ExitStack() as stack:
        clients = []
        ports: dict[str, tuple[int, int]] = {}
        for number in range(servers):
            service = f"shop {number // each if each else 0}"
            port = (0, 0) if each == 1 else ports.setdefault(service, (_free(), _free()))
            env = {
                **environment(folder),
                "METRICS_JSON_PORT": str(port[0]),
                "PROMETHEUS_ENABLED": "true",
                "PROMETHEUS_PORT": str(port[1]),
                "OTEL_SERVICE_NAME": service,
            }
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    env=env,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
            stack.callback(process.kill)
            clients.append(Client(process, service))
            clients[-1].begin()
        for client in clients:
            client.began()
            client.call(1)
        yield clients


def environment(folder: Path) -> dict[str, str]:
    """Return this process's environment, with a folder of its own for measured processes."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(folder), "METERTAP_ANNOUNCE": "false"}


def measured(kind: str, servers: int, folder: Path) -> bool:
    """Start servers, ask for all figures, and print what was seen; return whether all is there."""
    began = time.perf_counter()
    with desktop(servers, KINDS[kind], folder) as clients:
        took = time.perf_counter() - began
        print(f"{kind}: {servers} servers answered after {took:.1f} s", flush=True)
        expected: Counter[str] = Counter()
        for number, client in enumerate(clients):
            client.call(number % 3)
            expected[client.service] += 1 + number % 3
        complete = [
            _is_soon(lambda: _snapshot(folder, expected), "snapshot"),
            _is_soon(lambda: _top(folder, expected), "top --once"),
            _is_soon(lambda: _targets(folder, servers), "targets"),
            _is_soon(lambda: _pages(folder, expected), "page and document of each service"),
            _is_soon(lambda: _doctor(folder, expected), "doctor of each service"),
        ]
        pids = [client.process.pid for client in clients]
        files = sorted(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
        sizes = sorted(_own_bytes(pid) / 2**20 for pid in pids)
        print(
            f"{kind}: descriptors of a server {files[0]} to {files[-1]}; memory of its own "
            f"{sizes[0]:.0f} to {sizes[-1]:.0f} MiB, all {sum(sizes):.0f} MiB"
        )
        return all(complete)


def _is_soon(ask: Any, name: str) -> bool:
    """Ask until everything is there; print what the last time took."""
    until = time.monotonic() + _SECONDS
    while True:
        began, before = time.perf_counter(), _processor_seconds()
        wrong = ask()
        took, worked = time.perf_counter() - began, _processor_seconds() - before
        if not wrong or time.monotonic() > until:
            end = f", WRONG: {wrong}" if wrong else ""
            print(f"  {name}: {took:.2f} s, {worked:.2f} s of the processor{end}", flush=True)
            return not wrong
        time.sleep(_WAIT)


def _processor_seconds() -> float:
    """Return what the commands that have ended have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _told(folder: Path, *command: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "metertap", *command],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    return found.stdout


def _snapshot(folder: Path, expected: Counter[str]) -> str:
    return _differs(json.loads(_told(folder, "snapshot", "--json") or "[]"), expected)


def _top(folder: Path, expected: Counter[str]) -> str:
    shown = _told(folder, "top", "--once")
    return "" if shown.count("price") >= len(expected) else shown[-500:]


def _targets(folder: Path, servers: int) -> str:
    found = json.loads(_told(folder, "targets") or "[]")
    targets = {(item["targets"][0], item["labels"].get("__param_worker")) for item in found}
    return "" if len(targets) == servers else f"{len(targets)} targets of {servers}"


def _pages(folder: Path, expected: Counter[str]) -> str:
    documents = []
    for url in _urls(folder):
        with urllib.request.urlopen(url, timeout=_SECONDS) as page:
            page.read()
        with urllib.request.urlopen(f"{url}/metrics", timeout=_SECONDS) as document:
            documents.append(json.loads(document.read()))
    return _differs(documents, expected)


def _doctor(folder: Path, expected: Counter[str]) -> str:
    # Of each service: without an address, it would look at all libraries that are installed here.
    shown = "".join(_told(folder, "doctor", url) for url in _urls(folder))
    missing = [service for service in expected if service not in shown]
    return f"not named: {missing}" if missing else ""


def _urls(folder: Path) -> list[str]:
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    return sorted({process.url for process in processes(None)})


def _differs(documents: Sequence[dict[str, Any]], expected: Counter[str]) -> str:
    """Say how these documents differ from the calls that were made."""
    counted: Counter[str] = Counter()
    for document in documents:
        tools = document["tool_metrics"].values()
        counted[document["service"]["name"]] += sum(tool["total_calls"] for tool in tools)
    return "" if counted == expected else f"{dict(counted)} instead of {dict(expected)}"


def _own_bytes(pid: int) -> int:
    """Return the memory that no other process shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: all")
    parser.add_argument("--servers", type=int, default=40)
    given = parser.parse_args()
    complete = []
    for kind in given.kinds or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            complete.append(measured(kind, given.servers, Path(folder)))
    return 0 if all(complete) else 1


if __name__ == "__main__":
    sys.exit(main())
