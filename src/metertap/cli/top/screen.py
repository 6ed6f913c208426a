"""The whole screen: a line for each process, the table of tools, that of caches, the keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text

from metertap.cli.tables import printable
from metertap.cli.top import row_details
from metertap.cli.top.bottom import every_key, footer
from metertap.cli.top.layout import shortened
from metertap.cli.top.poller import Watched, Watching
from metertap.cli.top.rows import clock, labels, rows, state
from metertap.cli.top.signs import Signs
from metertap.cli.top.table import RULE, table
from metertap.cli.top.view import View

_LEAST_WORDS = 9
_ROOM_FOR_BOTH = 8
"""With fewer lines there is only one of the tables at a time."""


class Screen:
    """Draws what is watched as it is looked at, in exactly the lines that there are."""

    def __init__(self, watching: Watching, view: View, *, encoding: str = "utf-8") -> None:
        self._watching = watching
        self._view = view
        self._signs = Signs(encoding)

    def draw(self, width: int, height: int, now: float) -> RenderableType:
        """The screen at this moment."""
        listed = self._watching.listed()
        lines = [self._title(listed, width, now)]
        lines += self._processes(listed, width, max(1, height // 4), now)
        lines += self._alerts(listed, width, max(1, height // 5))
        room = max(0, height - len(lines) - 1)
        parts: list[RenderableType] = list(lines)
        if self._view.shows_keys:
            parts += every_key(self._view, room, self._signs)
        else:
            parts += self._tables(listed, width, room, now)
        parts.append(footer(self._view, width, self._signs))
        return Group(*parts)

    # The top

    def _title(self, listed: Sequence[Watched], width: int, now: float) -> Text:
        left = self._signs.text("").append(self._signs.plain("metertap top"), "bold")
        gone = sum(watched.is_silent(now) for watched in listed)
        there = len(listed) - gone
        words = f"  {there} process{'' if there == 1 else 'es'}"
        if gone:
            words += f", {gone} not answering"
        left.append(self._signs.plain(words))
        if self._watching.problem is not None:
            left.append(self._signs.plain(f"  {printable(self._watching.problem)}"), "yellow")
        time = clock(now)
        left.truncate(max(0, width - len(time) - 1))
        left.pad_right(max(0, width - len(time) - left.cell_len))
        return left.append(time)

    def _processes(
        self, listed: Sequence[Watched], width: int, most: int, now: float
    ) -> list[Text]:
        if not listed:
            return [
                self._signs.text(
                    " No measured process of this user yet; waiting for one.", "yellow"
                )
            ]
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
            line = self._signs.text(f"{word}  ", "red" if fires else "dim")
            if label:
                line.append(self._signs.plain(f"{printable(label)}  "), "bold")
            line.append(self._signs.plain(printable(alert.summary)))
            line.append(self._signs.plain(f"  since {clock(alert.since)}"), "dim")
            lines.append(self._signs.cut(line, width))
        if len(shown) < len(found):
            lines.append(self._signs.text(f"  … and {len(found) - len(shown)} more alerts", "dim"))
        return lines

    # The tables

    def _tables(
        self, listed: Sequence[Watched], width: int, room: int, now: float
    ) -> Iterable[RenderableType]:
        view = self._view
        every_tool, every_cache = rows(listed, now)
        view.tools.has_processes = view.caches.has_processes = len(listed) > 1
        tools, caches = view.tools, view.caches
        # Both tables have their figures under each other.
        names = [row.thing.name for row in tools.arrange(every_tool)]
        names += [row.thing.name for row in caches.arrange(every_cache)]
        widest = max((cell_len(printable(name)) for name in names), default=0)
        tools.widen("tool", widest)
        caches.widen("cache", widest)
        tool, cache = tools.unfolded(), caches.unfolded()
        of_tool = [] if tool is None else row_details.of_tool(tool, width - RULE, now)
        of_cache = [] if cache is None else row_details.of_cache(cache, width - RULE, now)
        to_caches = view.focused() is caches
        if every_cache and room >= _ROOM_FOR_BOTH:
            wish = (len(tools.shown) + len(of_tool), len(caches.shown) + len(of_cache))
            for_tools, for_caches = _shares(max(1, wish[0]), max(1, wish[1]), room - 3, to_caches)
            yield from table(tools, of_tool, width, for_tools, not to_caches, self._signs)
            yield Text("")
            yield from table(caches, of_cache, width, for_caches, to_caches, self._signs)
        elif to_caches:
            yield from table(caches, of_cache, width, room - 1, True, self._signs)
        else:
            yield from table(tools, of_tool, width, room - 1, True, self._signs)


def _shares(tools: int, caches: int, room: int, caches_have_focus: bool) -> tuple[int, int]:
    """How many lines each table gets. The one that has the keys gets two thirds, if it must."""
    if tools + caches <= room:
        return tools, room - tools
    most = room - room // 3
    if caches_have_focus:
        given = min(caches, max(most, room - tools))
        return room - given, given
    given = min(tools, max(most, room - caches))
    return given, room - given
