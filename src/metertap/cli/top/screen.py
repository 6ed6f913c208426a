"""The whole screen: processes, alerts, costs, tables, and the keys that can be pressed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text

from metertap import text
from metertap.cli.top import row_details
from metertap.cli.top.columns import Entry, Row, clock, condition, labels, rows
from metertap.cli.top.layout import Signs, shortened
from metertap.cli.top.poller import Poller, Watched
from metertap.cli.top.table import RULE, table
from metertap.cli.top.table_state import TableState, View
from metertap.tables import costs, spending
from metertap.text import printable

_LEAST_WORDS = 9
_LEAST_LINES = 4
"""The fewest lines of a table; if there are fewer for each, some tables are left out."""
_LETTERS = 5
"""The number of columns whose keys are listed in one line of help."""
_KEYS = (
    ("q  Ctrl-C", "quit"),
    ("/", "filter by the name of a tool, cache or process; Enter keeps it"),
    ("↑ ↓  k j", "select a row; Page Up, Page Down, Home, End"),
    ("→  Enter", "unfold it: errors, latency with caches; hit rate by tool"),
    ("←  Enter", "fold it"),
    ("Esc", "fold; then clear the filter; then select nothing"),
    ("< >", "sort by the next column; a letter below goes there"),
    ("r", "reverse the order; so does the letter once more"),
    ("Tab", "another table gets the keys, and the room"),
    ("Ctrl-Z", "suspend"),
)


class Screen:
    """The drawing of the watched processes in the view's state, as high as the terminal."""

    def __init__(self, poller: Poller, view: View, *, encoding: str = "utf-8") -> None:
        self._poller = poller
        self._view = view
        self._signs = Signs(encoding)

    def draw(self, width: int, height: int, now: float) -> RenderableType:
        """Return what the screen shows at `now`, in Unix seconds."""
        listed = self._poller.listed()
        lines = [self._title(listed, width, now)]
        lines += self._processes(listed, width, max(1, height // 4), now)
        lines += self._alerts(listed, width, max(1, height // 5))
        lines += self._costs(listed, width, max(1, height // 8))
        room = max(0, height - len(lines) - 1)
        parts: list[RenderableType] = list(lines)
        if self._view.shows_keys:
            parts += help(self._view, room, self._signs)
        else:
            parts += self._tables(listed, width, room, now)
        parts.append(footer(self._view, width, self._signs))
        return Group(*parts)

    def _title(self, listed: Sequence[Watched], width: int, now: float) -> Text:
        left = self._signs.text("").append(self._signs.plain("metertap top"), "bold")
        gone = sum(watched.is_silent(now) for watched in listed)
        there = len(listed) - gone
        words = f"  {there} process{'' if there == 1 else 'es'}"
        if gone:
            words += f", {gone} not answering"
        left.append(self._signs.plain(words))
        if self._poller.problem is not None:
            left.append(self._signs.plain(f"  {printable(self._poller.problem)}"), "yellow")
        time = clock(now)
        left.truncate(max(0, width - len(time) - 1))
        left.pad_right(max(0, width - len(time) - left.cell_len))
        return left.append(time)

    def _processes(
        self, listed: Sequence[Watched], width: int, most: int, now: float
    ) -> list[Text]:
        hidden = [
            self._signs.cut(
                self._signs.text(
                    printable(f"? {item.service}  pid {item.pid} cannot be asked: {reason}"),
                    "yellow",
                ),
                width,
            )
            for item, reason in self._poller.unserved[:most]
        ]
        if not (listed or hidden):
            waiting = " No measured process of this user yet; waiting for one."
            return [self._signs.text(waiting, "yellow")]
        if not listed:
            return hidden
        names = [printable(label) for label in labels(listed)]
        room = min(max(map(cell_len, names)), max(_LEAST_WORDS, width // 4))
        lines = []
        # Processes that do not answer are shown however many others run, so they are chosen first.
        order = sorted(zip(names, listed, strict=True), key=lambda item: not item[1].is_silent(now))
        shown = [item[1] for item in order[: most if len(order) <= most else max(1, most - 1)]]
        for name, watched in zip(names, listed, strict=True):
            if watched not in shown:
                continue
            sign, style, words = condition(watched, now)
            line = self._signs.text(f"{sign} ", style)
            shorter = shortened(name, room)
            line.append(self._signs.plain(shorter + " " * (room - cell_len(shorter))), "bold")
            line.append(self._signs.plain(f"  {printable(words)}"), style)
            where = watched.process.url.partition("://")[2] or watched.process.url
            if watched.process.pid is not None:
                where = f"pid {watched.process.pid} {where}"
            line.append(self._signs.plain(f"  {printable(where)}"), "dim")
            lines.append(self._signs.cut(line, width))
        if len(shown) < len(listed):
            lines.append(self._signs.text(f"  … and {len(listed) - len(shown)} more", "dim"))
        return [*lines, *hidden]

    def _alerts(self, listed: Sequence[Watched], width: int, most: int) -> list[Text]:
        found = [
            (label if len(listed) > 1 else "", alert)
            for label, watched in zip(labels(listed), listed, strict=True)
            if watched.reading is not None and not watched.is_gone()
            for alert in watched.reading.alerts
        ]
        found.sort(key=lambda item: item[1]["state"] != "firing")
        shown = found if len(found) <= most else found[: max(1, most - 1)]
        lines = []
        for label, alert in shown:
            fires = alert["state"] == "firing"
            word = f"✕ {printable(alert['severity'])}" if fires else f"· {alert['state']}"
            line = self._signs.text(f"{word}  ", "red" if fires else "dim")
            if label:
                line.append(self._signs.plain(f"{printable(label)}  "), "bold")
            line.append(self._signs.plain(printable(alert["summary"])))
            line.append(self._signs.plain(f"  since {clock(alert['since'])}"), "dim")
            lines.append(self._signs.cut(line, width))
        if len(shown) < len(found):
            lines.append(self._signs.text(f"  … and {len(found) - len(shown)} more alerts", "dim"))
        return lines

    def _costs(self, listed: Sequence[Watched], width: int, most: int) -> list[Text]:
        found: list[tuple[int, Text]] = []
        for label, watched in zip(labels(listed), listed, strict=True):
            reading = watched.reading
            if reading is None or reading.costs is None:
                continue
            told = [costs.heading(reading.costs)]
            told += [] if reading.spending is None else spending.last_days(reading.spending)
            told += costs.dearest(reading.costs)
            for place, words in enumerate(told):
                line = self._signs.text("$ ", "bold")
                if len(listed) > 1:
                    line.append(self._signs.plain(f"{printable(label)}  "), "bold")
                line.append(self._signs.plain(printable(words, width)), "dim" if place else "")
                found.append((place, self._signs.cut(line, width)))
        # The first line of each process, which says what it spent, has precedence in little room.
        return [line for _, line in sorted(found, key=lambda item: item[0])[:most]]

    def _tables(
        self, listed: Sequence[Watched], width: int, room: int, now: float
    ) -> Iterable[RenderableType]:
        view = self._view
        found = rows(listed, now)
        names = [row.entry.name for row in view.tools.arrange(found.tools)]
        names += [row.entry.name for row in view.operations.arrange(found.operations)]
        names += [row.entry.name for row in view.caches.arrange(found.caches)]
        # All tables have first columns of the same width, so that their figures are aligned.
        widest = max((cell_len(printable(name)) for name in names), default=0)
        for state in view.tables:
            state.has_processes = len(listed) > 1
            state.widen(state.columns()[0].title, widest)
        details = {
            view.tools.title: _details(view.tools, row_details.of_tool, width, now),
            view.operations.title: _details(view.operations, row_details.of_operation, width, now),
            view.caches.title: _details(view.caches, row_details.of_cache, width, now),
        }
        focused = view.focused()
        there = _those_with_room(view.with_rows(), focused, room)
        needs = [max(1, len(state.shown) + len(details[state.title])) for state in there]
        given = shares(needs, room - 2 * len(there) + 1, there.index(focused))
        for at, (state, lines) in enumerate(zip(there, given, strict=True)):
            if at:
                yield Text("")
            yield from table(
                state, details[state.title], width, lines, state is focused, self._signs
            )


def _details(
    state: TableState[Entry],
    of: Callable[[Row[Entry], int, float], list[Text]],
    width: int,
    now: float,
) -> list[Text]:
    row = state.unfolded()
    return [] if row is None else of(row, width - RULE, now)


def _those_with_room(
    states: list[TableState[Any]], focused: TableState[Any], room: int
) -> list[TableState[Any]]:
    """Leave out tables until the rest have room: the last one first, and never the focused one."""
    kept = list(states)
    while len(kept) > 1 and room < _LEAST_LINES * len(kept):
        kept.remove([state for state in kept if state is not focused][-1])
    return kept


def shares(needs: Sequence[int], room: int, focused: int) -> list[int]:
    """Divide lines among tables; the focused one gets two thirds if there are too few for all."""
    if sum(needs) <= room:
        return [*needs[:-1], room - sum(needs[:-1])]
    others = [at for at in range(len(needs)) if at != focused]
    least = sum(_fair([needs[at] for at in others], room // 3))
    given = {focused: min(needs[focused], room - least) if others else room}
    given |= zip(others, _fair([needs[at] for at in others], room - given[focused]), strict=True)
    return [given[at] for at in range(len(needs))]


def _fair(needs: Sequence[int], room: int) -> list[int]:
    """Divide lines evenly, but give no table more than it needs."""
    given = [0] * len(needs)
    for served, at in enumerate(sorted(range(len(needs)), key=lambda at: needs[at])):
        given[at] = min(needs[at], room // (len(needs) - served))
        room -= given[at]
    return given


def help(view: View, room: int, signs: Signs) -> list[Text]:
    """Explain every key, in exactly `room` lines."""
    lines = [Text("")]
    for key, about in _KEYS:
        lines.append(signs.text(f"  {key:<10}", "bold").append(signs.plain(about), "not bold"))
    for state in view.tables:
        letters = state.letters()
        for first in range(0, len(letters), _LETTERS):
            title = "" if first else state.title.capitalize()
            line = signs.text(f"  {title:<10}", "bold")
            for letter, column in letters[first : first + _LETTERS]:
                line.append(signs.plain(letter), "bold")
                line.append(signs.plain(f" {column:<11}"), "not bold")
            lines.append(line)
    lines.append(signs.text(f"  {text.LEGEND}   ✕ seen to fail in the last minute"))
    lines += [Text("") for _ in range(room)]
    return lines[:room]


def footer(view: View, width: int, signs: Signs) -> Text:
    """Return the last line of the screen: the keys that have an effect now."""
    if view.is_typing:
        line = signs.text("/", "bold").append(signs.plain(printable(view.filter)))
        line.append(" ", "reverse")
        line.append(signs.plain("  Enter keeps it, Esc clears it"), "dim")
    else:
        is_open = view.focused().cursor.is_open()
        line = Text()
        if view.filter:
            clears = "" if is_open else ", Esc clears it"  # Esc folds first
            line = signs.text(f"filter “{printable(view.filter)}”{clears}  ")
        for key, about in (
            ("q", "quit"),
            ("/", "filter"),
            ("<>", "sort by"),
            ("r", "reverse"),
            ("↑↓", "row"),
            ("←" if is_open else "→", "fold" if is_open else "unfold"),
            ("Tab", view.next_table().title),
            ("?", "keys"),
        ):
            line.append(signs.plain(key), "bold").append(signs.plain(f" {about}  "), "dim")
    line.truncate(max(0, width - 1))
    return line
