"""What a program pays once: imports, `instrument()`, and `metertap run` up to the first answer.

Clients start a stdio server for every session, and their users wait for its first answer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measuring import Ratio, Result, result

# CPU time of the thread that waits for it, so that other programs on the machine do not count.
_TIMED = "import time; started = time.thread_time(); {code}; print(time.thread_time() - started)"
# What a server has imported anyway: the SDK, wrapt, asyncio and the standard library's HTTP server.
_SERVER = "import asyncio, http.server, wsgiref.simple_server, wrapt, opentelemetry.sdk.metrics; "
# With the look for garbage among what is new, which is put off until `instrument()` returns.
_INSTRUMENT = _SERVER + _TIMED.format(
    code="import gc, metertap; metertap.instrument(json_port=0); gc.collect(0)"
)
_IMPORT = _TIMED.format(code="import metertap; metertap.instrument")
_SDK = _TIMED.format(code="import opentelemetry.sdk.metrics")
_COUNT = _SERVER + (
    "import sys; before = len(sys.modules); import metertap; metertap.instrument(json_port=0); "
    "print(len(sys.modules) - before)"
)

_TRIVIAL = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"answer": json.loads(line)}), flush=True)
"""
_MCP = """
try:
    from mcp.server.mcpserver import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer
server = MCPServer("benchmark", log_level="ERROR")
@server.tool()
def add(a: int, b: int) -> int:
    return a + b
server.run()
"""
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}
_RUN = str(Path(sys.executable).with_name("metertap"))


def _seconds(code: str) -> float:
    with tempfile.TemporaryDirectory() as empty:  # no project file that could be read
        return _said(code, empty)


def _said(code: str, folder: str) -> float:
    command = [sys.executable, "-c", code]
    ran = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=folder, env=_environment()
    )
    return float(ran.stdout)


def _empty_modules(count: int, rounds: int) -> Iterator[float]:
    """Seconds of the import of so many modules in which there is nothing."""
    names = [f"empty.module{number}" for number in range(count)]
    code = _TIMED.format(code=f"list(map(__import__, {names}))")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty.__init__", *names):
            path = Path(folder, *name.split(".")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.touch()
        _said(code, folder)  # compiles them
        for _ in range(rounds):
            yield _said(code, folder)


def imports(rounds: int) -> Iterator[Result]:
    """Each in a process of its own; of `instrument()` the minimum, as other programs add to it."""
    sdk, ours, instrument = [], [], []
    for _ in range(max(5, rounds // 2)):
        sdk.append(_seconds(_SDK))
        ours.append(_seconds(_IMPORT))
        instrument.append(_seconds(_INSTRUMENT))
    yield result("import and name instrument()", "import of the SDK", ours, sdk, 1.15)
    empty = list(_empty_modules(int(_seconds(_COUNT)), len(instrument)))
    yield _of_limit("instrument(), nothing to patch", instrument, 1.0)
    yield _of_limit("instrument(), as many modules, empty", empty, None)


def _of_limit(row: str, measured: Sequence[float], limit: float | None) -> Result:
    least, (low, high, _) = min(measured), statistics.quantiles(measured, n=4)
    ratio = Ratio(*(seconds * 1000 / 30 for seconds in (least, low, high)))
    return Result(row, "30 ms", ratio, limit, least)


def first_answer(rounds: int) -> Iterator[Result]:
    """What `metertap run` adds to a stdio program until that has answered its first line.

    The command's own part is in it, since the program takes its place in the same process. Minima
    and quartiles of alternating runs: a start is long, and is disturbed by everything.
    """
    for name, program, limit_ms in (("trivial", _TRIVIAL, 60), ("MCP server", _MCP, 30)):
        bare, ours = [], []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "program.py")
            path.write_text(program)
            _answered([_RUN, "run", "--", sys.executable, str(path)])  # compiles what is imported
            for _ in range(max(5, rounds // 2)):
                bare.append(_answered([sys.executable, str(path)]))
                ours.append(_answered([_RUN, "run", "--", sys.executable, str(path)]))
        yield _added(f"metertap run, first answer, {name}", ours, bare, limit_ms)


def _answered(command: Sequence[str]) -> float:
    """CPU seconds of a program up to its answer to the first line; elapsed ones off Linux."""
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        cwd=Path(command[-1]).parent,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(_INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline(), "no answer"
        seconds = _cpu_seconds(process.pid) or time.perf_counter() - started
        process.stdin.close()
        process.stdout.read()
    return seconds


def _environment() -> dict[str, str]:
    """Return what a program is started with: modules are compiled once, as they are by default."""
    environment = {**os.environ, "METERTAP_ANNOUNCE": "false"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _cpu_seconds(pid: int) -> float | None:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9 or None


def _added(row: str, ours: Sequence[float], bare: Sequence[float], limit_ms: float) -> Result:
    least = min(ours) - min(bare)
    quartiles = [statistics.quantiles(seconds, n=4) for seconds in (ours, bare)]
    low, high = sorted(quartiles[0][number] - quartiles[1][number] for number in (0, 1))
    ratio = Ratio(*(seconds * 1000 / limit_ms for seconds in (least, low, high)))
    return Result(row, f"{limit_ms} ms over bare", ratio, 1.0, least)
