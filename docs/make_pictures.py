"""Makes the terminal's pictures in this folder: `python docs/make_pictures.py`.

Runs the demo's server under its real client for a minute and draws the tables that
`metertap demo` shows, and the screen of `metertap top` with a row unfolded.
Needs `pip install '.[demo]'`.
"""

from __future__ import annotations

import asyncio
import io
import re
import time
from pathlib import Path

from rich.console import Console, RenderableType

from metertap.cli.demo import command
from metertap.cli.demo.client import DemoClient
from metertap.cli.processes import Process, document_of
from metertap.cli.tables import to_rich
from metertap.cli.top.poller import Poller
from metertap.cli.top.screen import Screen
from metertap.cli.top.table_state import View
from metertap.tables.figures import tables

_SECONDS = 60
_WIDTH = 100
_LINES = 24


async def _shown(url: str, pid: int) -> tuple[list[RenderableType], RenderableType]:
    """Return the demo's tables, and the screen of `top`, while the client is at work."""
    client = DemoClient(url)
    work = asyncio.create_task(client.run())
    addresses = await command._addresses(pid)
    poller = Poller([addresses.json_url or ""], 1.0)
    for _ in range(_SECONDS):
        await asyncio.sleep(1)
        await asyncio.to_thread(poller.take)
    process = Process(addresses.json_url or "", "metertap-demo", pid)
    document = await asyncio.to_thread(document_of, process)
    poller.end()
    client.end()
    await work
    parts: list[RenderableType] = []
    for table in tables(document, name=process.name, pid=process.pid, url=process.url):
        parts += (to_rich(table), "")
    view = View()
    screen = Screen(poller, view)
    screen.draw(_WIDTH, _LINES, time.time())  # before a row can be unfolded, there must be one
    for key in ("enter", "down"):  # the tool that asks a cache
        view.press(key)
    return parts, screen.draw(_WIDTH, _LINES, time.time())


def _draw(name: str, title: str, parts: list[RenderableType]) -> None:
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for part in parts:
        console.print(part)
    svg = console.export_svg(title=title)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path(__file__).with_name(name).write_text(svg + "\n", encoding="utf-8")


def main() -> None:
    with command._server(0, None) as (server, url):
        of_demo, of_top = asyncio.run(_shown(url, server.pid))
    _draw("demo.svg", "metertap demo", of_demo)
    _draw("top.svg", "metertap top", [of_top])


if __name__ == "__main__":
    main()
