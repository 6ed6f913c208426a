"""Makes the terminal's pictures in this folder: `python docs/make_pictures.py`.

Runs the demo's server under its real client for a minute and draws the tables that
`metertap demo` shows, and the screen of `metertap top` with a row unfolded. Then it draws what
commands write to a terminal: of two releases of the demo, of gunicorn's workers, and of what tools
cost.
Needs `pip install '.[demo,costs,regressions]' gunicorn`.
"""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

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
_WIDE = 150
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


def _draw(name: str, title: str, parts: list[RenderableType], width: int = _WIDTH) -> None:
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    for part in parts:
        console.print(part)
    svg = console.export_svg(title=title)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path(__file__).with_name(name).write_text(svg + "\n", encoding="utf-8")


_SHOP = """
import random, time
import metertap

metertap.instrument()

@metertap.tool
def price(item):
    time.sleep(random.random() / 50)
    return 9.5

def app(environ, start_response):
    start_response("200 OK", [])
    return [str(price(environ["PATH_INFO"])).encode()]
"""


def _written(*command: str, width: int = _WIDTH) -> Text:
    """Return what a command of metertap writes to a terminal."""
    parts: list[bytes] = []

    def keep(file: int) -> bytes:
        parts.append(os.read(file, 65_536))
        return parts[-1]

    os.environ["COLUMNS"] = str(width)
    pty.spawn([sys.executable, "-m", "metertap", *command], keep)
    prompt = Text(f"$ metertap {' '.join(command)}\n", style="bold")
    return prompt + Text.from_ansi(b"".join(parts).decode().replace("\r\n", "\n"))


def _two_releases() -> None:
    for release in ("1.0", "2.0"):
        demo = ("demo", "--history", "shop.db", "--duration", "40", "--release", release)
        subprocess.run([sys.executable, "-m", "metertap", *demo], check=True)
    for name in ("trends", "regressions"):
        _draw(f"{name}.svg", "Two releases", [_written(name, "--history", "shop.db")])


def _workers() -> None:
    Path("shop.py").write_text(_SHOP)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = ("gunicorn", "--workers", "4", "--bind", f"127.0.0.1:{port}", "shop:app")
    with subprocess.Popen([sys.executable, "-m", *server]) as running:
        time.sleep(10)
        for _ in range(400):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/tea").close()
        _draw("workers.svg", " ".join(server), [_written("snapshot")])
        running.terminate()


def _costs() -> None:
    demo = [sys.executable, "-m", "metertap", "demo", "--costs", "--duration", "60"]
    with subprocess.Popen(demo):
        time.sleep(50)
        shown = [_written("costs", width=_WIDE)]
    _draw("costs.svg", "metertap demo --costs", shown, _WIDE)


def main() -> None:
    with command._server(0, None, None, "1.0", False) as (server, url):
        of_demo, of_top = asyncio.run(_shown(url, server.pid))
    _draw("demo.svg", "metertap demo", of_demo)
    _draw("top.svg", "metertap top", [of_top])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder  # what else runs on this machine is in no picture
        os.chdir(folder)
        _two_releases()
        _workers()
        _costs()


if __name__ == "__main__":
    main()
