"""Programs in a pseudo-terminal that a VT100 emulator reads: what whoever sits there sees."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

pyte = pytest.importorskip("pyte", reason="a terminal emulator shows what is on the screen")


class EmulatedTerminal:
    """One program, its screen and its keyboard."""

    def __init__(
        self, *command: str, columns: int, lines: int, env: Mapping[str, str | None]
    ) -> None:
        self._ours, self._its = pty.openpty()
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self._set_size(columns, lines)
        self.mode = termios.tcgetattr(self._its)
        environment = {"TERM": "xterm-256color", "NO_COLOR": None, **env}
        self.process = subprocess.Popen(
            command,
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            env={
                name: value
                for name, value in {**os.environ, **environment}.items()
                if value is not None
            },
            start_new_session=True,
            preexec_fn=_take_terminal,
        )

    def press(self, keys: str | bytes) -> None:
        """Type."""
        os.write(self._ours, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, as a window's owner does."""
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def lines(self) -> list[str]:
        """What is on the screen now, without blanks at the ends."""
        return [line.rstrip() for line in self.screen.display]

    def text(self) -> str:
        return "\n".join(self.lines())

    def shows(self, what: Callable[[str], object], seconds: float = 60.0) -> str:
        """The screen once `what(screen)` is true of it; fails the test when it never is."""
        deadline = time.monotonic() + seconds
        while True:
            while self._read(0.05):  # no screen that is half drawn
                if time.monotonic() > deadline:
                    break
            if what(self.text()):
                return self.text()
            assert time.monotonic() < deadline, f"not on the screen in {seconds} s:\n{self.text()}"

    def ends(self, seconds: float = 60.0) -> int:
        """Its exit status; everything that it wrote is on the screen then."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it has not ended:\n{self.text()}"
            self._read(0.05)
        while self._read(0):
            pass
        status: int = self.process.returncode
        return status

    def mode_now(self) -> list[object]:
        """The terminal's attributes, to compare with `mode`."""
        return termios.tcgetattr(self._its)

    def close(self) -> None:
        """End it, however it is."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal under it."""
        if self._ours >= 0:
            os.close(self._ours)
            os.close(self._its)
        self._ours = -1

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def _read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self._ours], [], [], seconds)
        data = os.read(self._ours, 65536) if ready else b""
        self.written += data
        self._stream.feed(data)
        return data


def _take_terminal() -> None:
    """In the child: stdin is its controlling terminal, so that Ctrl-C and a resize reach it.

    Who runs the tests may ignore hang-ups, as `nohup` does; a program in a terminal does not.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def emulated(
    *command: str, columns: int = 120, lines: int = 30, env: Mapping[str, str | None] | None = None
) -> Iterator[EmulatedTerminal]:
    """A program in a terminal; killed at the end of the block."""
    terminal = EmulatedTerminal(*command, columns=columns, lines=lines, env=env or {})
    try:
        yield terminal
    finally:
        terminal.close()
