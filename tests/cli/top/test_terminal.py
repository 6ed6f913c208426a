"""The terminal: left as it was, however the live view ends, and what it cannot show."""

from __future__ import annotations

import re
import signal
import sys

import pytest

from support.emulated_terminal import EmulatedTerminal, emulated
from support.programs import METERTAP
from support.waiting import wait_for
from support.watched import Measured, cells, top

pytestmark = pytest.mark.programs


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_q_and_ctrl_c_leave_the_terminal_as_it_was(key: str, shop: Measured) -> None:
    with top(shop.url) as terminal:
        terminal.shows(lambda text: "first" in text)
        assert terminal.mode_now() != terminal.mode
        terminal.press(key)
        assert terminal.ends() == 0
        assert_restored(terminal)


def assert_restored(terminal: EmulatedTerminal) -> None:
    assert terminal.mode_now() == terminal.mode
    for on, off in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h")):
        assert 0 <= terminal.written.rfind(on) < terminal.written.rfind(off)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_it_ends_any_program(number: signal.Signals, shop: Measured) -> None:
    with top(shop.url) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal.process.send_signal(number)
        assert terminal.ends() == -number
        assert_restored(terminal)


def test_an_exception_leaves_the_terminal_as_it_was(shop: Measured) -> None:
    code = (
        "import sys\n"
        "from metertap.cli import main\n"
        "from metertap.cli.top import table_state\n"
        "def press(self, key): raise RuntimeError('of a test')\n"
        "table_state.View.press = press\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with emulated(sys.executable, "-c", code, "top", shop.url) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal.press("x")
        assert terminal.ends() == 1
        assert_restored(terminal)
        left = terminal.written.rfind(b"\x1b[?1049l")
        told = re.sub(rb"\x1b\[[\d;]*m", b"", terminal.written[left:])
        assert (
            b"RuntimeError: of a test" in told
        )  # after the screen is left, so that it can be read


def test_a_screen_that_cannot_be_drawn_leaves_the_terminal_as_it_was(shop: Measured) -> None:
    code = (
        "import sys\n"
        "from rich.segment import Segment\n"
        "from metertap.cli import main\n"
        "from metertap.cli.top import screen\n"
        "class Broken:\n"
        "    def __rich_console__(self, console, options): yield Segment(None)\n"
        "screen.Screen.draw = lambda *_arguments: Broken()\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with emulated(sys.executable, "-c", code, "top", shop.url) as terminal:
        assert terminal.ends() == 1
        assert_restored(terminal)
        assert "TypeError" in terminal.text()


def test_a_screen_that_cannot_be_written_leaves_the_terminal_as_it_was(shop: Measured) -> None:
    code = (
        "import io, sys\n"
        "from metertap.cli import main\n"
        "class Stubborn(io.TextIOWrapper):\n"
        "    def write(self, text):\n"
        "        if 'first' in text: raise UnicodeError('of a test')\n"
        "        return super().write(text)\n"
        "sys.stdout = Stubborn(sys.stdout.detach(), 'utf-8', line_buffering=True)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with emulated(sys.executable, "-c", code, "top", shop.url) as terminal:
        assert terminal.ends() == 1
        assert_restored(terminal)
        assert "UnicodeError" in terminal.text()


def test_it_can_be_suspended_and_continued(shop: Measured) -> None:
    command = f"{METERTAP} top {shop.url}\n"
    env = {"PS1": "ready> ", "HISTFILE": None}
    with emulated("bash", "--norc", "--noprofile", "-i", env=env) as terminal:
        terminal.shows(lambda text: "ready>" in text)
        terminal.press(command)
        terminal.shows(lambda text: "q quit" in text and "first" in text)
        terminal.press("\x1a")
        wait_for(lambda: terminal._read(0.05) is None or b"Stopped" in terminal.written)
        assert_restored_screen(terminal)
        written = len(terminal.written)
        terminal.press("fg\n")
        wait_for(
            lambda: terminal._read(0.05) is None or b"q\x1b" in terminal.written[written + 200 :]
        )
        written = len(terminal.written)
        terminal.press("q")
        wait_for(lambda: terminal._read(0.05) is None or b"ready> " in terminal.written[written:])
        terminal.press("echo status $?\n")
        terminal.shows(lambda text: "status 0" in text)
        terminal.press("exit\n")
        terminal.ends()


def assert_restored_screen(terminal: EmulatedTerminal) -> None:
    assert terminal.written.count(b"\x1b[?1049h") == terminal.written.count(b"\x1b[?1049l") == 1
    assert terminal.written.count(b"\x1b[?25l") == terminal.written.count(b"\x1b[?25h") == 1


def test_a_terminal_that_is_gone_ends_it(shop: Measured) -> None:
    with top(shop.url) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal.hang_up()
        assert terminal.process.wait(60) == -signal.SIGHUP


def test_no_colour_is_no_colour_and_no_sign_is_lost(shop: Measured) -> None:
    shop.do("[record('search', True, 1.0) for _ in range(3)]")
    with top(shop.url, env={"NO_COLOR": "1"}, columns=140) as terminal:
        terminal.shows(lambda text: "search" in text)
        shop.do("record('search', False, 1.0, 'KeyError')")
        terminal.shows(lambda text: "✕" in (cells(text, "search") or [""] * 3)[2])
        assert not re.search(rb"\x1b\[[\d;]*3[0-8][;m]", terminal.written)
    with top(shop.url, columns=140) as terminal:
        terminal.shows(lambda text: "search" in text)
        shop.do("record('search', False, 1.0, 'KeyError')")
        terminal.shows(lambda text: "✕" in (cells(text, "search") or [""] * 3)[2])
        assert re.search(rb"\x1b\[[\d;]*3[0-8][;m]", terminal.written)


def test_a_terminal_without_such_characters_gets_others(shop: Measured) -> None:
    with top(shop.url, env={"PYTHONIOENCODING": "latin-1"}, columns=140) as terminal:
        screen = terminal.shows(lambda text: "first" in text and "p95v" in text)
        assert cells(screen, "first")[3:6] == ["-", "-", "-"]
        terminal.resize(30, 10)
        assert "?" not in terminal.shows(lambda text: "p95v" in text and "active" not in text)[:-30]


@pytest.mark.parametrize(
    "env",
    [{"COLUMNS": "²", "LINES": "²"}, {"TTY_INTERACTIVE": "0"}, {"TTY_COMPATIBLE": "0"}],
    ids=repr,
)
def test_variables_that_others_read_leave_no_screen_empty(
    env: dict[str, str], shop: Measured
) -> None:
    with top(shop.url, env=env) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal.press("q")
        assert terminal.ends() == 0


def test_of_a_terminal_that_tells_an_impossible_size_a_part_is_drawn(shop: Measured) -> None:
    with top(shop.url, columns=20) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal._set_size(20, 65_535)  # the emulator itself keeps its lines
        before = len(terminal.written)
        terminal.process.send_signal(signal.SIGWINCH)
        wait_for(lambda: len(terminal.written) > before or terminal._read(0.05) is None)
        terminal.press("q")
        assert terminal.ends() == 0
        assert len(terminal.written) < 500_000
