"""Makes the pictures of the page and the terminal in this folder: `python docs/make_pictures.py`.

Runs the demo's server under its real client for a minute and draws the screen of `metertap top`
with a row unfolded. Then it draws what commands write to a terminal: of two releases of the demo,
of gunicorn's workers, and of what tools cost. Last, it photographs the live page of the demo.
Needs `pip install -e '.[dev]'`, and chromium on PATH. Takes seven minutes.
"""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console, RenderableType
from rich.text import Text

from metertap.cli.demo import command
from metertap.cli.demo.client import DemoClient
from metertap.cli.processes import processes
from metertap.cli.top.poller import Poller
from metertap.cli.top.screen import Screen
from metertap.cli.top.table_state import View

_SECONDS = 60
_PAGE_SECONDS = 150
_WIDTH = 100
_WIDE = 150
_LINES = 24


async def _shown(url: str, pid: int) -> RenderableType:
    """Return the screen of `top` while the client is at work."""
    client = DemoClient(url)
    work = asyncio.create_task(client.run())
    addresses = await command._addresses(pid)
    poller = Poller([addresses.json_url or ""], 1.0)
    for _ in range(_SECONDS):
        await asyncio.sleep(1)
        await asyncio.to_thread(poller.take)
    poller.end()
    client.end()
    await work
    view = View()
    screen = Screen(poller, view)
    screen.draw(_WIDTH, _LINES, time.time())  # before a row can be unfolded, there must be one
    for key in ("enter", "down"):  # the tool that asks a cache
        view.press(key)
    return screen.draw(_WIDTH, _LINES, time.time())


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


def _page() -> None:
    """Photograph the live page after some minutes, with a tool that fails unfolded."""
    demo = [sys.executable, "-m", "metertap", "demo"]
    with (
        subprocess.Popen([*demo, "--duration", f"{_PAGE_SECONDS + 30}"]),
        sync_playwright() as made,
    ):
        time.sleep(15)
        (process,) = processes(None)
        browser = made.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        tab = browser.new_page(viewport={"width": 1280, "height": 1000})
        tab.goto(f"{process.url}/")
        tab.click("#tools button.name:has-text('order')")
        tab.wait_for_timeout(_PAGE_SECONDS * 1000)
        tab.screenshot(path=Path(__file__).with_name("page-light.png"))


def main() -> None:
    with command._server(0, None, None, "1.0", False) as (server, url):
        of_top = asyncio.run(_shown(url, server.pid))
    _draw("top.svg", "metertap top", [of_top])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder  # what else runs on this machine is in no picture
        os.chdir(folder)
        _two_releases()
        _workers()
        _costs()
        _page()


if __name__ == "__main__":
    main()
