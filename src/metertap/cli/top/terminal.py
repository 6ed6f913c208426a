"""The terminal in the live view: keys without Enter, the alternate screen, signals as events.

However the view ends, the modes, screen, cursor and signal handlers are restored.
"""

from __future__ import annotations

import io
import os
import select
import signal
import socket
import sys
import termios
import time
import tty
from collections.abc import Callable
from types import FrameType, TracebackType

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.live import Live

from metertap.cli.top.keys import Keys

_ESCAPE_SECONDS = 0.1
"""How long the rest of an escape sequence may take to arrive, for instance over ssh."""
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGWINCH", "SIGCONT")
_ENDS = {signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_IFLAG = 0
_USUAL = 80, 24
"""The columns and lines of a terminal that does not tell its size."""
_MOST = 1000, 500
"""The most columns and lines that are drawn: a terminal may tell 65,535 of each."""
_LEAVE_SCREEN = b"\x1b[0m\x1b[?25h\x1b[?1049l"


class Terminal:
    """A context in which the live view owns the terminal. Any thread may call `told`."""

    def __init__(self) -> None:
        self.has_ended = False
        """Whether a signal such as Ctrl-C has ended the view, or the terminal has been closed."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # some terminals do not use UTF-8
        # It is a terminal, whatever variables tell rich, and `show` gives it the present size.
        self._console = Console(
            highlight=False,
            emoji=False,
            markup=False,
            force_terminal=True,
            force_interactive=True,
            width=_USUAL[0],
            height=_USUAL[1],
        )
        self.encoding = self._console.encoding
        self._keys = Keys()
        self._input = sys.stdin.fileno()
        self._ending: int | None = None
        self._signals: list[int] = []
        self._handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._waking, self._wakes = socket.socketpair()
        self._waking.setblocking(False)
        self._wakes.setblocking(False)
        self._before = termios.tcgetattr(self._input)
        self._live: Live | None = None

    def __enter__(self) -> Terminal:
        for name in _SIGNALS:
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:  # as SIGHUP is under nohup
                self._handlers[number] = signal.signal(number, self._note)
        self._wakeup = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        try:
            self._take()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        if self._ending is not None and error is None:
            # The process now ends by the signal, so that its parent sees the cause of its end.
            signal.signal(self._ending, signal.SIG_DFL)
            os.kill(os.getpid(), self._ending)

    def told(self) -> None:
        """End a running `wait`, because there is something new to show."""
        try:
            self._wakes.send(b"\0")
        except OSError:
            pass  # the buffer is full, so the wait will end anyway, or the view has ended

    def size(self) -> tuple[int, int]:
        """Return the present numbers of columns and lines.

        COLUMNS and LINES in the environment are not read: they do not change with the window.
        """
        try:
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            columns, lines = 0, 0
        return min(columns or _USUAL[0], _MOST[0]), min(lines or _USUAL[1], _MOST[1])

    def show(self, screen: RenderableType, size: tuple[int, int]) -> None:
        """Draw a screen over the one before."""
        self._console.size = ConsoleDimensions(*size)
        if self._live is not None:
            self._live.update(screen, refresh=True)

    def wait(self, seconds: float) -> tuple[list[str], bool]:
        """Wait at most `seconds`; return the keys pressed, and whether a signal needs a redraw."""
        deadline = time.monotonic() + seconds
        if self._keys.is_waiting:
            seconds = min(seconds, _ESCAPE_SECONDS)
        ready, _, _ = select.select([self._input, self._waking], [], [], max(0.0, seconds))
        if self._waking in ready:
            self._drain()
        must_draw = self._act_on_signals()
        pressed: list[str] = []
        if self._input in ready:
            pressed = self._read()
        elif self._keys.is_waiting and (not ready or time.monotonic() >= deadline):
            pressed = self._keys.flush()
        return pressed, must_draw

    def _read(self) -> list[str]:
        try:
            data = os.read(self._input, 4096)
        except OSError:
            data = b""
        if not data:  # the terminal has been closed
            self.has_ended = True
        return self._keys.feed(data)

    def _drain(self) -> None:
        try:
            while self._waking.recv(4096):
                pass
        except BlockingIOError:
            pass

    # Signals

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _act_on_signals(self) -> bool:
        noted, self._signals = self._signals, []
        for number in noted:
            if number == signal.SIGINT:
                self.has_ended = True
            elif number in _ENDS:
                self.has_ended = True
                self._ending = number
            elif number == signal.SIGTSTP:
                self._suspend()
        return bool(noted)

    def _suspend(self) -> None:
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # The process stops here until the shell continues it, and goes on with the next line.
        signal.signal(signal.SIGTSTP, self._note)
        self._take()

    # The terminal

    def _take(self) -> None:
        tty.setcbreak(self._input)
        mode = termios.tcgetattr(self._input)
        mode[_IFLAG] &= ~termios.IXON  # Ctrl-S would freeze the screen
        termios.tcsetattr(self._input, termios.TCSADRAIN, mode)
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _give_back(self) -> None:
        live, self._live = self._live, None
        try:
            if live is not None:
                live.stop()
        except Exception:  # what it could not write is still in its buffer, so write around that
            os.write(sys.stdout.fileno(), _LEAVE_SCREEN)
        finally:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _leave(self) -> None:
        try:
            self._give_back()
        except (OSError, termios.error):
            pass  # the terminal is closed, and with it the modes that would be restored
        finally:
            signal.set_wakeup_fd(self._wakeup)
            for number, handler in self._handlers.items():
                if handler is not None:
                    signal.signal(number, handler)
            self._waking.close()
            self._wakes.close()
