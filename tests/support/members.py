"""Workers of one service, each a process that does what a test says."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from metertap.workers import holder, members
from metertap.workers.holder import Gathered
from metertap.workers.members import TOTALS, Files
from support.programs import started

SERVICE = members.key("shop", "json 127.0.0.1 9109")
ASK_SECONDS = holder._ASK_SECONDS
"""The patience of the product, which tests of busy workers extend."""
MEMBER = (
    sys.executable,
    str(Path(__file__).parents[1] / "workers" / "programs" / "member.py"),
    SERVICE,
)


class Member:
    """A worker in a process of its own: it does what it is told on its stdin."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def does(self, command: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def has_written(self) -> bool:
        found = Files(SERVICE).members()
        return any(TOTALS in files for one, files in found.items() if one.pid == self.process.pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def another(stack: ExitStack, *, calls: int = 0, ask_seconds: float = 60.0) -> Member:
    """Start a worker; by default it has the patience that a busy machine needs."""
    member = Member(stack.enter_context(started((*MEMBER, str(ask_seconds)))))
    if calls:
        member.does(f"call {calls}")
    member.does("join")
    return member


def calls(gathered: Gathered | None) -> int:
    """The successful calls of all workers together."""
    assert gathered is not None
    return sum(part.figures.succeeded for part in gathered.merged["tools"].values())
