"""`metertap top [URL ...]`: a live view of the tools and caches of running processes."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metertap.cli.client import NONE
from metertap.cli.credentials import Credentials
from metertap.cli.tables import complain, has_rich
from metertap.install_command import install_command

if TYPE_CHECKING:
    from metertap.cli.top.poller import Poller
    from metertap.cli.top.screen import Screen
    from metertap.cli.top.table_state import View
    from metertap.cli.top.terminal import Terminal

_GATHER_SECONDS = 0.1
"""How long the first new answer waits for others, so that the screen is drawn once for all."""
_REDRAW_SECONDS = 1.1
"""The longest time between two drawings; the screen shows the time of day."""


def top(
    urls: Sequence[str], *, once: bool, as_json: bool, interval: float, given: Credentials = NONE
) -> int:
    """Show processes live, or once if that is wanted or the terminal cannot show a live view."""
    if not (once or as_json) and _can_be_live():
        if has_rich():
            return _live(urls, interval, given)
        complain("top", f"the live view needs rich: {install_command('cli')}")
    from metertap.cli.top.once import show_once

    return show_once(urls, interval, as_json=as_json, given=given)


def _can_be_live() -> bool:
    """Return whether stdin and stdout are a terminal that can move its cursor and send keys."""
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") not in {"dumb", "unknown", ""}
        and importlib.util.find_spec("termios") is not None
    )


def _live(urls: Sequence[str], interval: float, given: Credentials) -> int:
    """Show processes until `q` or Ctrl-C is pressed, or the terminal is closed."""
    # These modules import rich. They are not imported above, because the tables can be shown once
    # without it.
    from metertap.cli.top.poller import Poller
    from metertap.cli.top.screen import Screen
    from metertap.cli.top.table_state import View
    from metertap.cli.top.terminal import Terminal

    view = View()
    with Terminal() as terminal:
        poller = Poller(urls, interval, terminal.told, given)
        screen = Screen(poller, view, encoding=terminal.encoding)
        try:
            _run(terminal, poller, screen, view, min(interval, 1.0))
        finally:
            poller.end()
    return 0


def _run(terminal: Terminal, poller: Poller, screen: Screen, view: View, tick: float) -> None:
    """Find processes, draw their answers and act on keys, until the view or terminal has ended."""
    due = discovered = float("-inf")
    while not (view.has_ended or terminal.has_ended):
        now = time.monotonic()
        changed = poller.take()
        if now - discovered >= tick:
            changed |= poller.discover()
            discovered = now
        if changed:
            due = min(due, now + _GATHER_SECONDS)
        if now >= due:
            size = terminal.size()
            terminal.show(screen.draw(*size, time.time()), size)
            due = now + _REDRAW_SECONDS
        pressed, must_draw = terminal.wait(min(due, discovered + tick) - time.monotonic())
        for key in pressed:
            view.press(key)
        if pressed or must_draw:
            due = float("-inf")
