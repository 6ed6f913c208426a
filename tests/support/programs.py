"""Programs as child processes, with and without `metertap run` in front of them."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from support import loud_faults

PROGRAMS = Path(__file__).parent.parent / "run" / "programs"
METERTAP = str(Path(sys.executable).with_name("metertap"))
RUN = (METERTAP, "run", "--")
NO_LIBRARIES = {"METERTAP_DISABLED_INSTRUMENTATIONS": "*"}
"""With this, `metertap doctor` need not import all libraries, which takes several seconds."""


@dataclass(frozen=True)
class Ended:
    """How a program ended, and what it wrote. Equal whatever the process id."""

    pid: int = field(compare=False)
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def told(self) -> str:
        """Its stderr as text."""
        return self.stderr.decode()


@contextmanager
def started(
    command: Sequence[str],
    *,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    stderr: int | IO[bytes] = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program with pipes; killed at the end of the block, and its children with it.

    `env` is on top of this process's environment; None takes a variable away.
    """
    environment = {**os.environ, **(env or {})}
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={name: value for name, value in environment.items() if value is not None},
        cwd=cwd,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # A child that is left would hold the pipes open for ever.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: subprocess.Popen[bytes], given: bytes | None = None) -> Ended:
    """Wait for its end, after writing `given` to its stdin and closing that."""
    stdout, stderr = process.communicate(given, timeout=180)
    loud_faults.check(stderr)
    return Ended(process.pid, process.returncode, stdout, stderr)


def run(
    *command: str,
    given: bytes = b"",
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
) -> Ended:
    """Run a program to its end."""
    with started(command, env=env, cwd=cwd) as process:
        return ended(process, given)


def run_in_terminal(*command: str, columns: int) -> Ended:
    """Run a program whose stdout is a terminal of that width, in colour."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environment = {name: text for name, text in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=subprocess.PIPE,
        env={**environment, "TERM": "xterm-256color"},
    )
    os.close(its)
    shown = b""
    with suppress(OSError):  # Linux's way of saying that the other side is closed
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    _, told = process.communicate(timeout=180)
    return Ended(process.pid, process.returncode, shown.replace(b"\r\n", b"\n"), told)


def executable(path: Path, text: str) -> Path:
    """Write a script that can be executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
