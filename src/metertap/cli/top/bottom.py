"""What keys are for: the last line, and the whole list."""

from __future__ import annotations

from rich.text import Text

from metertap import text as figures
from metertap.cli.tables import printable
from metertap.cli.top.signs import Signs
from metertap.cli.top.view import View

_LETTERS = 5
_KEYS = (
    ("q  Ctrl-C", "quit"),
    ("/", "filter by the name of a tool, cache or process; Enter keeps it"),
    ("↑ ↓  k j", "select a row; Page Up, Page Down, Home, End"),
    ("→  Enter", "unfold it: errors, latency with caches; hit rate by tool"),
    ("←  Enter", "fold it"),
    ("Esc", "fold; then clear the filter; then select nothing"),
    ("< >", "sort by the next column; a letter below goes there"),
    ("r", "reverse the order; so does the letter once more"),
    ("Tab", "the other table gets the keys, and the room"),
    ("Ctrl-Z", "suspend"),
)


def every_key(view: View, room: int, signs: Signs) -> list[Text]:
    """Every key, in `room` lines."""
    lines = [Text("")]
    for key, about in _KEYS:
        lines.append(signs.text(f"  {key:<10}", "bold").append(signs.plain(about), "not bold"))
    for name, part in (("Tools", view.tools), ("Caches", view.caches)):
        letters = part.letters()
        for first in range(0, len(letters), _LETTERS):
            text = signs.text(f"  {'' if first else name:<10}", "bold")
            for letter, title in letters[first : first + _LETTERS]:
                text.append(signs.plain(letter), "bold")
                text.append(signs.plain(f" {title:<11}"), "not bold")
            lines.append(text)
    lines.append(signs.text(f"  {figures.LEGEND}   ✕ failed in the last minute"))
    lines += [Text("") for _ in range(room)]
    return lines[:room]


def footer(view: View, width: int, signs: Signs) -> Text:
    """The keys that are of use now."""
    if view.is_typing:
        line = signs.text("/", "bold").append(signs.plain(printable(view.filter)))
        line.append(" ", "reverse")
        line.append(signs.plain("  Enter keeps it, Esc clears it"), "dim")
    else:
        is_open = view.focused().place.is_open()
        line = Text()
        if view.filter:
            clears = "" if is_open else ", Esc clears it"  # it folds first
            line = signs.text(f"filter “{printable(view.filter)}”{clears}  ")
        for key, about in (
            ("q", "quit"),
            ("/", "filter"),
            ("<>", "sort by"),
            ("r", "reverse"),
            ("↑↓", "row"),
            ("←" if is_open else "→", "fold" if is_open else "unfold"),
            ("Tab", "tools" if view.focused() is view.caches else "caches"),
            ("?", "keys"),
        ):
            line.append(signs.plain(key), "bold").append(signs.plain(f" {about}  "), "dim")
    line.truncate(max(0, width - 1))
    return line
