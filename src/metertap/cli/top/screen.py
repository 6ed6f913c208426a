"""The whole screen: a line for each process, the table of tools, that of caches, the keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from metertap.cli.tables import printable
from metertap.cli.top.columns import Row, Thing
from metertap.cli.top.layout import Wish, fit, shortened
from metertap.cli.top.rows import clock, labels, rows, state
from metertap.cli.top.view import Part, View
from metertap.cli.top.watching import Watched, Watching

_LEAST_NAME = 24
_LEAST_WORDS = 9
_LEAST_FIRST = 16
"""For `tool 1–12 of 200`."""
_MOST_NAME = 60
_LETTERS = 5
_ROOM_FOR_BOTH = 8
"""With fewer lines there is only one of the tables at a time."""
_HELP = (
    ("q", "quit"),
    ("/", "filter"),
    ("←→", "sort by"),
    ("r", "reverse"),
    ("↑↓", "scroll"),
    ("Tab", "caches"),
    ("?", "keys"),
)
_KEYS = (
    ("q  Ctrl-C", "quit"),
    ("/", "filter by the name of a tool, cache or process"),
    ("", "Enter keeps the filter, Esc clears it"),
    ("← →", "sort by the next column; a letter below goes there"),
    ("r", "reverse the order; so does the letter once more"),
    ("↑ ↓  k j", "scroll; Page Up, Page Down, Home, End"),
    ("Tab", "the other table gets the keys, and the room"),
    ("Ctrl-Z", "suspend"),
)
_PLAIN = str.maketrans(
    {"–": "-", "≈": "~", "…": "~", "✕": "x", "▲": "^", "▼": "v", "·": "-", "µ": "u"}
    | {"←": "<", "→": ">", "↑": "^", "↓": "v", "“": '"', "”": '"'}
)


class Screen:
    """Draws what is watched as it is looked at, in exactly the lines that there are."""

    def __init__(self, watching: Watching, view: View, *, encoding: str = "utf-8") -> None:
        self._watching = watching
        self._view = view
        try:
            "–≈…✕▲▼·µ←↑“".encode(encoding)
            self._has_signs = True
        except (UnicodeError, LookupError):
            self._has_signs = False

    def draw(self, width: int, height: int, now: float) -> RenderableType:
        """The screen at this moment."""
        listed = self._watching.listed()
        lines = [self._title(listed, width, now)]
        lines += self._processes(listed, width, max(1, height // 4), now)
        lines += self._alerts(listed, width, max(1, height // 5))
        room = max(0, height - len(lines) - 1)
        parts: list[RenderableType] = list(lines)
        if self._view.shows_keys:
            parts += self._keys(room)
        else:
            parts += self._tables(listed, width, room, now)
        parts.append(self._footer(width))
        return Group(*parts)

    # The top

    def _title(self, listed: Sequence[Watched], width: int, now: float) -> Text:
        left = self._text("").append(self._plain("metertap top"), "bold")
        gone = sum(watched.is_silent(now) for watched in listed)
        there = len(listed) - gone
        words = f"  {there} process{'' if there == 1 else 'es'}"
        if gone:
            words += f", {gone} not answering"
        left.append(self._plain(words))
        if self._watching.problem is not None:
            left.append(self._plain(f"  {printable(self._watching.problem)}"), "yellow")
        time = clock(now)
        left.truncate(max(0, width - len(time) - 1))
        left.pad_right(max(0, width - len(time) - left.cell_len))
        return left.append(time)

    def _processes(
        self, listed: Sequence[Watched], width: int, most: int, now: float
    ) -> list[Text]:
        if not listed:
            return [self._text(" No measured process of this user yet; waiting for one.", "yellow")]
        names = [printable(label) for label in labels(listed)]
        room = min(max(map(cell_len, names)), max(_LEAST_WORDS, width // 4))
        lines = []
        # What is not well is seen whatever the number of the others.
        order = sorted(zip(names, listed, strict=True), key=lambda item: not item[1].is_silent(now))
        shown = [item[1] for item in order[: most if len(order) <= most else max(1, most - 1)]]
        for name, watched in zip(names, listed, strict=True):
            if watched not in shown:
                continue
            sign, style, words = state(watched, now)
            line = self._text(f"{sign} ", style)
            shorter = shortened(name, room)
            line.append(self._plain(shorter + " " * (room - cell_len(shorter))), "bold")
            line.append(self._plain(f"  {printable(words)}"), style)
            where = watched.process.url.partition("://")[2] or watched.process.url
            if watched.process.pid is not None:
                where = f"pid {watched.process.pid} {where}"
            line.append(self._plain(f"  {printable(where)}"), "dim")
            line.truncate(width, overflow="ellipsis" if self._has_signs else "crop")
            lines.append(line)
        if len(shown) < len(listed):
            lines.append(self._text(f"  … and {len(listed) - len(shown)} more", "dim"))
        return lines

    def _alerts(self, listed: Sequence[Watched], width: int, most: int) -> list[Text]:
        found = [
            (label if len(listed) > 1 else "", alert)
            for label, watched in zip(labels(listed), listed, strict=True)
            if watched.reading is not None and not watched.is_gone()
            for alert in watched.reading.alerts
        ]
        found.sort(key=lambda item: item[1].state != "firing")
        shown = found if len(found) <= most else found[: max(1, most - 1)]
        lines = []
        for label, alert in shown:
            fires = alert.state == "firing"
            word = f"✕ {alert.severity}" if fires else f"· {alert.state}"
            line = self._text(f"{word}  ", "red" if fires else "dim")
            if label:
                line.append(self._plain(f"{printable(label)}  "), "bold")
            line.append(self._plain(printable(alert.summary)))
            line.append(self._plain(f"  since {clock(alert.since)}"), "dim")
            line.truncate(width, overflow="ellipsis" if self._has_signs else "crop")
            lines.append(line)
        if len(shown) < len(found):
            lines.append(self._text(f"  … and {len(found) - len(shown)} more alerts", "dim"))
        return lines

    # The tables

    def _tables(
        self, listed: Sequence[Watched], width: int, room: int, now: float
    ) -> Iterable[RenderableType]:
        view = self._view
        every_tool, every_cache = rows(listed, now)
        view.tools.has_processes = view.caches.has_processes = len(listed) > 1
        tools = view.tools.arrange(every_tool, view.filter)
        caches = view.caches.arrange(every_cache, view.filter)
        # Both tables have their figures under each other.
        names = [row.thing.name for row in tools] + [row.thing.name for row in caches]
        widest = max((cell_len(printable(name)) for name in names), default=0)
        view.tools.widen("tool", widest)
        view.caches.widen("cache", widest)
        of_caches = view.caches_have_focus and bool(every_cache)
        if every_cache and room >= _ROOM_FOR_BOTH:
            wish = (max(1, len(tools)), max(1, len(caches)))
            for_tools, for_caches = _shares(*wish, room - 3, of_caches)
            yield from self._table(
                view.tools, tools, len(every_tool), width, for_tools, not of_caches
            )
            yield Text("")
            yield from self._table(
                view.caches, caches, len(every_cache), width, for_caches, of_caches
            )
        elif of_caches:
            yield from self._table(view.caches, caches, len(every_cache), width, room - 1, True)
        else:
            yield from self._table(view.tools, tools, len(every_tool), width, room - 1, True)

    def _table(
        self,
        part: Part[Thing],
        arranged: Sequence[Row[Thing]],
        total: int,
        width: int,
        room: int,
        has_focus: bool,
    ) -> Iterable[RenderableType]:
        """A header and `room` lines."""
        if room < 0:
            return
        part.page = max(1, room)
        part.scroll(0)
        columns = part.columns()
        sorting = part.sorting()
        arrow = "▼" if part.descends() else "▲"
        titles = [column.title + (arrow if column is sorting else "") for column in columns]
        shown = arranged[part.top : part.top + room]
        texts = [[printable(column.text(row)) for column in columns] for row in arranged]
        wishes = []
        for index, column in enumerate(columns):
            natural = max(map(cell_len, (titles[index], *(line[index] for line in texts))))
            # A column does not become narrower: everything would move with each figure.
            natural = part.widen(column.title, natural)
            if index == 0:
                natural = max(natural, _LEAST_FIRST)
            least = natural
            if column.is_words:
                natural = min(natural, _MOST_NAME)
                least = min(natural, _LEAST_NAME if index == 0 else _LEAST_WORDS)
            wishes.append(Wish(natural, least, 0 if column is sorting else column.rank))
        fitted = fit(wishes, width)
        widths = list(fitted.widths)
        extents = _extents(part.top, len(shown), len(arranged), total)
        titles[0] += next((it for it in extents if cell_len(titles[0] + it) <= widths[0]), "")
        if columns[fitted.columns[-1]].is_words:  # the header is one bar
            widths[-1] += max(0, width - sum(widths) - fitted.gap * (len(widths) - 1))
        table = Table(box=None, padding=(0, fitted.gap, 0, 0), pad_edge=False, expand=False)
        table.header_style = "bold reverse" if has_focus else "bold"
        for index, wide in zip(fitted.columns, widths, strict=True):
            table.add_column(
                self._text(shortened(titles[index], wide)),
                justify="left" if columns[index].is_words else "right",
                width=wide,
                no_wrap=True,
                overflow="crop",  # it fits
            )
        for row, line in zip(shown, texts[part.top :], strict=False):
            cells = [
                self._text(shortened(line[index], wide), columns[index].style(row.thing))
                for index, wide in zip(fitted.columns, widths, strict=True)
            ]
            table.add_row(*cells, style="dim" if row.is_gone or row.is_unused() else None)
        if not shown and room > 0:
            yield from (table, self._empty(columns[0].title, total))
            yield from (Text("") for _ in range(room - 1))
        else:
            yield table
            yield from (Text("") for _ in range(room - len(shown)))

    def _empty(self, thing: str, total: int) -> Text:
        if total:
            return self._text(
                f"No {thing} has “{printable(self._view.filter)}” in its name.", "dim"
            )
        return self._text(f"No {thing} has been seen yet.", "dim")

    # The bottom

    def _keys(self, room: int) -> list[Text]:
        lines = [Text("")]
        for key, about in _KEYS:
            lines.append(self._text(f"  {key:<10}", "bold").append(self._plain(about), "not bold"))
        for name, part in (("Tools", self._view.tools), ("Caches", self._view.caches)):
            letters = part.letters()
            for first in range(0, len(letters), _LETTERS):
                text = self._text(f"  {'' if first else name:<10}", "bold")
                for letter, title in letters[first : first + _LETTERS]:
                    text.append(self._plain(letter), "bold")
                    text.append(self._plain(f" {title:<11}"), "not bold")
                lines.append(text)
        lines.append(
            self._text("  ≈ an estimate, or of too few calls   ✕ failed in the last minute")
        )
        lines += [Text("") for _ in range(room)]
        return lines[:room]

    def _footer(self, width: int) -> Text:
        view = self._view
        if view.is_typing:
            line = self._text("/", "bold").append(self._plain(printable(view.filter)))
            line.append(" ", "reverse").append(
                self._plain("  Enter keeps it, Esc clears it"), "dim"
            )
        else:
            line = Text()
            for key, about in _HELP:
                about = "tools" if about == "caches" and view.caches_have_focus else about
                line.append(self._plain(key), "bold").append(self._plain(f" {about}  "), "dim")
            if view.filter:
                line = self._text(f"filter “{printable(view.filter)}”, Esc clears it  ").append(
                    line
                )
        line.truncate(max(0, width - 1))
        return line

    def _text(self, text: str, style: str = "") -> Text:
        return Text(self._plain(text), style=style, no_wrap=True, end="\n")

    def _plain(self, text: str) -> str:
        """`text` in signs that the terminal has."""
        return text if self._has_signs else text.translate(_PLAIN)


def _extents(top: int, shown: int, filtered: int, total: int) -> list[str]:
    """Which of the rows are shown, and of how many; the longest way of saying it is first."""
    if shown == filtered == total:
        return [f" {total}"]
    if shown == filtered:
        return [f" {filtered} of {total}", f" {filtered}"]
    rows = f" {top + 1}–{top + shown}"
    everything = [] if filtered == total else [f"{rows} of {filtered} (of {total})"]
    return [*everything, f"{rows} of {filtered}", rows]


def _shares(tools: int, caches: int, room: int, caches_have_focus: bool) -> tuple[int, int]:
    """How many rows each table gets. The one that has the keys gets two thirds, if it must."""
    if tools + caches <= room:
        return tools, room - tools
    most = room - room // 3
    if caches_have_focus:
        given = min(caches, max(most, room - tools))
        return room - given, given
    given = min(tools, max(most, room - caches))
    return given, room - given
