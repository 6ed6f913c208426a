"""Makes the pictures in this folder from real output: `python docs/make_pictures.py`.

Runs the demo's server under its real client for some seconds and draws the tables that
`metertap demo` shows. Needs `pip install '.[all]'`.
"""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

from rich.console import Console

from metertap.cli import demo
from metertap.cli.processes import Process, fetch
from metertap.cli.snapshot import tables
from metertap.cli.tables import to_rich
from metertap.demo.client import DemoClient

_SECONDS = 20
_WIDTH = 100


async def _document(url: str, pid: int) -> tuple[Process, dict[str, object]]:
    client = DemoClient(url)
    work = asyncio.create_task(client.run())
    addresses = await demo._addresses(pid)
    await asyncio.sleep(_SECONDS)
    process = Process(addresses.json_url or "", "metertap-demo", pid)
    document = await asyncio.to_thread(fetch, process, "/metrics")
    client.end()
    await work
    return process, document


def main() -> None:
    with demo._server(0, None) as (server, url):
        process, document = asyncio.run(_document(url, server.pid))
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for table in tables(document, process):
        console.print(to_rich(table), "")
    picture = Path(__file__).with_name("demo.svg")
    svg = console.export_svg(title="metertap demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    picture.write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
