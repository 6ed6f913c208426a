"""A process that measures what it is told to, and `metertap top` that watches it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rich", reason="the live view needs rich")
pytest.importorskip("pyte", reason="a terminal emulator shows what is on the screen")

from support.emulated_terminal import emulated
from support.http import get
from support.programs import METERTAP, started
from support.waiting import wait_for

HOSTILE = "[red]a\x1b[2J\x07[/red]\n\u202eb"
ESCAPED = r"[red]a\x1b[2J\x07[/red]\n\u202eb"
"""A name that would act on a terminal, and how it is shown."""
FAST = ("--interval", "0.2")
PROGRAM = """
import sys, metertap
from metertap import catalogue, state
tap = metertap.instrument()
record = metertap.record_tool_call
def record_operation(metric, seconds, method='', name='', error=''):
    given = {catalogue.MCP_METHOD: method, catalogue.TOOL_NAME: name, catalogue.ERROR_TYPE: error}
    attributes = {key: value for key, value in given.items() if value}
    key = (metric.name, *attributes.items())
    state.recorder().record_operation(key, metric, attributes, seconds)
for line in sys.stdin:
    exec(line)
    print(flush=True)
"""


class Measured:
    """Process that measures what it is told to do, a line of Python at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid

    def do(self, line: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"\n"

    @property
    def url(self) -> str:
        entry = Path(os.environ["XDG_RUNTIME_DIR"]) / "metertap" / f"{self.pid}.json"
        url: str = wait_for(lambda: entry.exists() and json.loads(entry.read_text())["json_url"])
        return url

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = get(f"{self.url}/metrics").json()
        return found


@contextmanager
def measured(name: str, port: int = 0, first: str = "record('first', True, 1.0)") -> Iterator[Any]:
    env = {"OTEL_SERVICE_NAME": name, "METRICS_JSON_PORT": str(port)}
    with started([sys.executable, "-c", PROGRAM], env=env) as process:
        found = Measured(process)
        found.do(first)
        assert found.url
        yield found


def top(*arguments: str, **options: Any) -> Any:
    """Start `metertap top`, live, in a terminal."""
    return emulated(METERTAP, "top", *FAST, *arguments, **options)


def cells(screen: str, name: str) -> list[str]:
    """Return the cells of the row that starts with `name`."""
    for line in screen.splitlines():
        found = re.split(r"\s{2,}", line.replace("✕ ", "✕").strip())
        if found[0] == name:
            return found
    return []


def names(screen: str, header: str = "tool") -> list[str]:
    """Return the first cell of every row of a table."""
    lines = screen.splitlines()
    starts = [at + 1 for at, line in enumerate(lines) if re.match(rf"{header}[ ▲▼]", line)]
    rows = []
    for line in lines[starts[0] :] if starts else ():
        if not line or re.match("cache[ ▲▼]|q quit", line):
            break
        rows.append(line.split()[0])
    return rows
