"""A server that is started, used over its standard streams, and ended with all its children."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from metertap.cli.weight.session import MOST_BYTES, Deadline, Unusable, shown

_GRACE_SECONDS = 2.0
"""How long a server may take to end after its input has, and again after a SIGTERM, in seconds."""
_TAIL_BYTES = 4096


@contextmanager
def started(command: Sequence[str], deadline: Deadline) -> Iterator[Stdio]:
    """Start a server; at the end, end it and everything it has started. Raises Unusable."""
    # A file, not a pipe: a server that writes much to stderr must not block.
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(  # noqa: S603 - the command is what the user typed
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # so that it can be ended as a group
            )
        except (OSError, ValueError) as error:
            raise Unusable(
                f"it cannot be started: {getattr(error, 'strerror', None) or error}"
            ) from None
        try:
            yield Stdio(process, log.fileno(), deadline)
        finally:
            _end(process)


class Stdio:
    """Messages to and from a started server, one on each line of its standard streams."""

    def __init__(self, process: subprocess.Popen[bytes], log: int, deadline: Deadline) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._log, self._deadline = process, log, deadline
        self._input, self._output = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._input, False)
        self._lines: list[bytes] = []
        self._rest: list[bytes] = []
        self._received = 0

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        line = json.dumps(message).encode() + b"\n"
        while line:
            if not select.select([], [self._input], [], self._deadline.left())[1]:
                continue
            try:
                line = line[os.write(self._input, line) :]
            except BrokenPipeError:
                raise self._ended() from None

    def agree(self, version: str) -> None:
        """Do nothing: there are no headers to name a version in."""

    def receive(self) -> str:
        """Wait for the next message."""
        while not self._lines:
            self._read()
        line = self._lines.pop(0)
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise Unusable(f"it sends what is no UTF-8: {shown(repr(line))}") from None

    def _read(self) -> None:
        if not select.select([self._output], [], [], self._deadline.left())[0]:
            return
        part = os.read(self._output, 2**16)
        if not part:
            raise self._ended()
        self._received += len(part)
        if self._received > MOST_BYTES:
            raise Unusable(f"it sends more than {MOST_BYTES >> 20} MB")
        self._rest.append(part)
        if b"\n" in part:
            *lines, rest = b"".join(self._rest).split(b"\n")
            self._rest = [rest] if rest else []
            self._lines += [line for line in lines if line.strip()]

    def _ended(self) -> Unusable:
        """Describe how the server ended, and what it wrote last."""
        told = "it closed its output"
        with suppress(subprocess.TimeoutExpired):
            told = f"it ended with status {self._process.wait(_GRACE_SECONDS)}"
        size = os.fstat(self._log).st_size
        tail = os.pread(self._log, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        lines = tail.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return Unusable(f"{told}: {shown(last)}" if last else told)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server with everything it started: close its input, then SIGTERM, then SIGKILL."""
    children = list(_descendants(process.pid))
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with suppress(OSError):
            stream.close()
    if not _has_ended(process):
        _signal(process.pid, children, signal.SIGTERM)
        _has_ended(process)
    # Before the wait for it, after which another process could have its number.
    _signal(process.pid, children, signal.SIGKILL)
    process.wait()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait a while for the end of a server, but leave its exit status to be read."""
    end = time.monotonic() + _GRACE_SECONDS
    while process.returncode is None and time.monotonic() < end:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        time.sleep(0.01)
    return process.returncode is not None


def _signal(group: int, children: Sequence[int], number: int) -> None:
    with suppress(OSError):
        os.killpg(group, number)
    for pid in children:  # the children that have left the group
        if _descends_still(pid, group):
            with suppress(OSError):
                os.kill(pid, number)


def _descends_still(pid: int, group: int) -> bool:
    """Return whether `pid` is a descendant of the server that left its process group."""
    with suppress(OSError):
        return os.getpgid(pid) != group
    return False


def _descendants(pid: int) -> Iterator[int]:
    """Yield the processes that `pid` has started, and theirs in turn; only Linux shows them."""
    waiting = [pid]  # no recursion: the chain may be too deep for it
    while waiting:
        with suppress(OSError):
            for tasks in Path(f"/proc/{waiting.pop()}/task").iterdir():
                for child in (tasks / "children").read_text(encoding="ascii").split():
                    yield int(child)
                    waiting.append(int(child))
