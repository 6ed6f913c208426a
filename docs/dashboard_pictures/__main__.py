"""Makes `grafana-tools.png` in docs/: `python docs/dashboard_pictures`.

A real Prometheus scrapes the demo's server while real clients call its tools. Then the queries of
every panel are sent to that Prometheus as Grafana would send them, and the answers are drawn where
the dashboard's grid has the panel. Panels, queries and figures are real; the drawing is that of
these files, not Grafana's.

Takes some five minutes. Needs `pip install '.[all,grafana]' pillow playwright`, and
prometheus and chromium on PATH. With the address of a Prometheus it asks that one instead.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from asking import SCRAPE_SECONDS, SHOWN_SECONDS, Store
from drawing import Drawing
from PIL import Image
from playwright.sync_api import sync_playwright

from metertap.cli.demo import command
from metertap.cli.demo.client import DemoClient
from metertap_exporters import grafana
from metertap_exporters.grafana import DASHBOARDS

_BOARDS = ("tools",)
_WIDTH = 1400


@contextmanager
def _prometheus(target: str, folder: Path) -> Iterator[str]:
    """Run a Prometheus that scrapes `target`, and yield its address."""
    job = {"job_name": "metertap", "static_configs": [{"targets": [urlsplit(target).netloc]}]}
    config = {"global": {"scrape_interval": f"{SCRAPE_SECONDS}s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address={address}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


async def _asked_under_load(url: str, pid: int, folder: Path) -> dict[str, str]:
    """Draw the dashboards while one client works all the time, and two in the middle of it."""
    addresses = await command._addresses(pid)
    always, sometimes = DemoClient(url), DemoClient(url)
    with _prometheus(addresses.prometheus_url or "", folder) as prometheus:
        work = [asyncio.create_task(always.run())]
        await asyncio.sleep(SHOWN_SECONDS * 0.4)
        work.append(asyncio.create_task(sometimes.run()))
        await asyncio.sleep(SHOWN_SECONDS * 0.3)
        sometimes.end()
        await asyncio.sleep(SHOWN_SECONDS * 0.35)
        found = await asyncio.to_thread(pages, prometheus)
        always.end()
        await asyncio.gather(*work)
    return found


def pages(prometheus: str) -> dict[str, str]:
    """Draw a page for each dashboard, by its name."""
    store = Store(prometheus)
    files = grafana.files(prometheus)
    found = {}
    for name in _BOARDS:
        document = json.loads(files[f"dashboards/{DASHBOARDS}/{name}.json"])
        found[name] = Drawing(store, document).page()
    return found


def photograph(drawn: dict[str, str]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        for name, page in drawn.items():
            tab = browser.new_page(viewport={"width": _WIDTH, "height": 800})
            tab.set_content(page)
            tab.wait_for_selector("body[data-drawn]")
            picture = Image.open(BytesIO(tab.screenshot(full_page=True))).convert("RGB")
            # With a palette, the file has a third of the size and looks the same.
            picture = picture.quantize(256, dither=Image.Dither.NONE)
            picture.save(Path(__file__).parents[1] / f"grafana-{name}.png", optimize=True)
        browser.close()


def main() -> None:
    if len(sys.argv) > 1:
        drawn = pages(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder, command._server(0, None) as (server, url):
            drawn = asyncio.run(_asked_under_load(url, server.pid, Path(folder)))
    photograph(drawn)


if __name__ == "__main__":
    main()
