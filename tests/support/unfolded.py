"""What `metertap top` shows of the selected row, and of its details."""

from __future__ import annotations

import re

from support.emulated_terminal import EmulatedTerminal


def details(screen: str) -> list[str]:
    """Return the lines that are unfolded, without the rule at their left."""
    return [line[2:] for line in screen.splitlines() if re.match("[│▲▼] |│$", line)]


def above_details(screen: str) -> str:
    """Return the name of the row that is unfolded."""
    lines = screen.splitlines()
    first = next((at for at, line in enumerate(lines) if re.match("[│▲▼] ", line)), 0)
    return re.split(r"\s{2,}", lines[first - 1])[0] if first else ""


def facts(screen: str, label: str) -> list[str]:
    """Return what is listed under one label of the details."""
    found: list[str] = []
    label_now = ""
    for line in details(screen):
        label_now = line[:12].strip() or label_now
        if label_now == label:
            found += line[12:].strip().split(" · ")
    return found


def figures_of(screen: str, name: str) -> list[str]:
    """Return the cells of one line of a small table among the details."""
    lines = [line for line in details(screen) if line.startswith(f"{name} ")]
    return re.split(r"\s{2,}", lines[0].strip())[1:] if lines else []


def selected(terminal: EmulatedTerminal) -> list[str]:
    """Return the names of the selected rows, which are reversed and, unlike headers, not bold."""
    rows = terminal.screen.buffer
    return [
        line.split()[0]
        for at, line in enumerate(terminal.lines())
        if line and rows[at][0].reverse and not rows[at][0].bold
    ]


def shows_selected(terminal: EmulatedTerminal, name: str) -> str:
    return terminal.shows(lambda _text: selected(terminal) == [name])
