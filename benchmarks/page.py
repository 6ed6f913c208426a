"""What the live page costs the process that it shows: CPU time while it is open, one poll a second.

The process is one of its own, with 200 tools of full windows of which 20 are called ten times a
second each. It is asked as a browser asks. The CPU time of its median second is compared with that
of the seconds before, in which nobody asked: now and then the process looks for caches, which has
nothing to do with the page and takes as long as several such seconds.
"""

from __future__ import annotations

import http.client
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import urlsplit

from benchmarks.measuring import Result, result

TOOLS, ACTIVE, CALLS_A_SECOND = 200, 20, 10
_SECONDS = 5
_AS_A_BROWSER = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Referer": "http://127.0.0.1:9109/",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0.0.0",
}


def open_page(rounds: int) -> Iterator[Result]:
    """CPU seconds of the process for each second that the page is open."""
    command = [sys.executable, "-m", "benchmarks.page"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def spent() -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        def median_second(url: str | None) -> float:
            """CPU time of the median second, in each of which a page at `url` asks once."""
            readings = [spent()]
            for _ in range(_SECONDS):
                if url:
                    _ask(url)
                time.sleep(1)
                readings.append(spent())
            return statistics.median(now - then for then, now in pairwise(readings))

        url = process.stdout.readline().strip()
        _ask(url)
        costs = []
        for _ in range(max(3, rounds // 6)):
            idle = median_second(None)
            costs.append(median_second(url) - idle)
        process.stdin.close()
    row = f"the page open, {TOOLS} tools, {ACTIVE} active"
    yield result(row, "a core", costs, [1.0] * len(costs), 0.005)


def _ask(url: str) -> None:
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request("GET", "/metrics", headers=_AS_A_BROWSER)
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    finally:
        connection.close()


def _process() -> None:
    """The process: its address on stdout, then its CPU time for each line of stdin."""
    import metertap

    chosen = random.Random(1)
    with metertap.instrument(json_port=0) as tap:
        names = [f"tool {number}" for number in range(TOOLS)]
        for name in names:
            for _ in range(1000):
                metertap.record_tool_call(name, True, chosen.lognormvariate(3.0, 1.0))
        caches = [metertap.cache_meter(f"cache {number}") for number in range(10)]
        while tap.json_url is None:
            time.sleep(0.01)
        ended = threading.Event()

        def work() -> None:
            turn = 0
            while not ended.wait(1 / CALLS_A_SECOND):
                turn += 1
                for name in names[:ACTIVE]:
                    fails = turn % 10 == 0
                    latency = chosen.lognormvariate(3.0, 1.0)
                    error = "ConnectionError" if fails else None
                    metertap.record_tool_call(name, not fails, latency, error)
                for cache in caches:
                    cache.hit()

        threading.Thread(target=work, daemon=True).start()
        sys.stdout.write(f"{tap.json_url}\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            sys.stdout.write(f"{time.process_time()}\n")
            sys.stdout.flush()
        ended.set()


if __name__ == "__main__":
    _process()
