"""How long an event loop waits for its turn while the endpoints of its process are asked."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

from benchmarks.measuring import Result, result
from benchmarks.process import measured
from benchmarks.views import new_tools, record
from metertap.recording import ToolSeries

TOOLS, SECONDS, TICK = 1_000, 5.0, 0.001
_CLIENT = """
import sys, time, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": "gzip"})
end = time.time() + float(sys.argv[2])
while time.time() < end:
    urllib.request.urlopen(request).read()
"""


def asked(_rounds: int) -> Iterator[Result]:
    """Median and 99th percentile while one client asks again at once, whatever it is answered."""
    with measured(series_limit=20_000) as tap:
        tools = new_tools(TOOLS)
        for number, series in enumerate(tools):
            record(series, number / TOOLS)
        while not (tap.prometheus_url and tap.json_url):
            time.sleep(0.01)
        for name, url in (("scrapes", tap.prometheus_url), ("documents", tap.json_url)):
            lags = sorted(asyncio.run(_lags(f"{url}/metrics", tools)))
            for share, limit_ms in ((0.5, 0.5), (0.99, 5.0)):
                row = f"lag by {name} of {TOOLS:,} tools, p{share * 100:.0f}"
                lag = [lags[int(len(lags) * share)]]
                yield result(row, f"{limit_ms} ms", lag, [limit_ms / 1000], 1.0)


async def _lags(url: str, tools: list[ToolSeries]) -> list[float]:
    """Measure how much later than it wanted a task ran again; tools are called meanwhile."""
    arguments = (sys.executable, "-c", _CLIENT, url, str(SECONDS + 2))
    client = await asyncio.create_subprocess_exec(*arguments)
    await asyncio.sleep(1.0)
    lags = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - started - TICK)
        record(tools[len(lags) % TOOLS], 0.01)
    await client.wait()
    return lags
