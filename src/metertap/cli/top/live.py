"""The live view: looks, draws, and listens to keys until it is left."""

from __future__ import annotations

import time
from collections.abc import Sequence

from metertap.cli.top.poller import Watching
from metertap.cli.top.screen import Screen
from metertap.cli.top.terminal import Terminal
from metertap.cli.top.view import View

_GATHER_SECONDS = 0.1
"""Answers of several processes that come one after the other are drawn together."""
_TICK_SECONDS = 1.1
"""The time of day is shown, and for how long a process is gone: whether one answers or not."""


def live(urls: Sequence[str], interval: float) -> int:
    """Show the processes until `q`, Ctrl-C or the end of the terminal."""
    view = View()
    with Terminal() as terminal:
        watching = Watching(urls, interval, terminal.told)
        screen = Screen(watching, view, encoding=terminal.encoding)
        try:
            _run(terminal, watching, screen, view, min(interval, 1.0))
        finally:
            watching.end()
    return 0


def _run(terminal: Terminal, watching: Watching, screen: Screen, view: View, tick: float) -> None:
    due = discovered = float("-inf")
    while not (view.has_ended or terminal.has_ended):
        now = time.monotonic()
        changed = watching.take()
        if now - discovered >= tick:
            changed |= watching.discover()
            discovered = now
        if changed:
            due = min(due, now + _GATHER_SECONDS)
        if now >= due:
            size = terminal.size()
            terminal.show(screen.draw(*size, time.time()), size)
            due = now + _TICK_SECONDS
        pressed, must_draw = terminal.wait(min(due, discovered + tick) - time.monotonic())
        for key in pressed:
            view.press(key)
        if pressed or must_draw:
            due = float("-inf")
