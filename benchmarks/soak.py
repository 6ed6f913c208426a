"""`python -m benchmarks.soak --minutes 10`: memory and latency of a process at its top rate.

One thread calls tools and asks caches as fast as it can, under names of which 100,000 are hostile,
while another process asks for the document and for Prometheus' text again and again. The same
program runs beside it with metertap switched off. What is told is a regression over the minutes,
with its standard error, of two figures:

- What is in use: all bytes that Python and C have allocated and not freed. This is what a leak
  would be part of, and all that metertap decides.
- Resident memory, the least of each minute. Beyond what is in use, it has what the allocator keeps:
  glibc does not give back freed memory in pieces as large as the largest that were freed before,
  for each thread that answers. `MALLOC_TRIM_THRESHOLD_=131072` makes it do so.

Before the first minute that counts, each name was called 50 times, and some minutes have passed.
Memory is read while no answer is being made, and after a document: it keeps the figures that its
entries were written from. Figures that a later scrape takes of tools that were called meanwhile are
held beside them until the next document, up to 2 MB for 2,000 names, and would look like growth.
The cost of a call is CPU time of its thread, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cachetools

import metertap

NAMES, BATCH = 100_000, 2_000
SERIES, PASSES = 2_000, 50
"""The names that are kept, and how often each is called before it counts.

Until then their windows fill, and the lists and dictionaries of each grow.
"""
MINUTE = 60.0
WARM_UP_MINUTES = 2.0
WINDOW = 10
"""Samples of a window."""
MEGABYTES_PER_HOUR = 1.0
"""The slope of memory that is promised at most."""
UNMEASURED_PAUSE = 0.1
"""Seconds between batches without metertap, which then makes about as many calls."""
SLOWER = 1.25
"""How much more a call may cost in the last third of the time than in the first."""
_READER = """
import http.client, sys, time, urllib.request
for _ in sys.stdin:
    for url in sys.argv[1:]:
        try:
            urllib.request.urlopen(url, timeout=600).read()
        except (OSError, http.client.HTTPException):
            pass  # on a machine that does much else, an answer may take longer than is allowed
    print(flush=True)
    time.sleep(1)
"""
"""Reads all answers once for each line that it is told, and says when it has."""


class Memory(NamedTuple):
    """Bytes at one moment."""

    in_use: int
    resident: int


class Minute(NamedTuple):
    """What one minute was like: bytes, and the seconds of a call."""

    in_use: float
    resident: float
    call: float


class Slope(NamedTuple):
    """Growth in megabytes an hour, and the standard error of that."""

    mb_per_hour: float
    standard_error: float


class _Mallinfo(ctypes.Structure):
    """What glibc's `mallinfo2` returns."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def hostile_names(count: int = NAMES) -> list[str]:
    """Make names that a client could make up: long, empty, with control characters, alike."""
    texts = (
        "tool\x00{}",
        "{}\x1b[2J",
        "a\nb{}",
        "ü" * 200 + "{}",
        '"{}"}}',
        "<b>{}</b>",
        "{}" * 99,
    )
    return [texts[number % len(texts)].replace("{}", str(number)) for number in range(count)]


def memory() -> Memory:
    """Return what this process uses, and what of it is resident; for Linux with glibc."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Mallinfo
    of_malloc = libc.mallinfo2()
    in_use = of_malloc.uordblks + of_malloc.hblkhd + _bytes_in_blocks()
    return Memory(in_use, pages * os.sysconf("SC_PAGE_SIZE"))


def _bytes_in_blocks() -> int:
    """Return the bytes of Python's small objects, of which `malloc` knows nothing."""
    with tempfile.TemporaryFile() as told:
        stderr = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        told.seek(0)
        found = re.search(rb"# bytes in allocated blocks +=\s+([\d,]+)", told.read())
    assert found is not None
    return int(found[1].replace(b",", b""))


def endless(names: list[str]) -> Iterator[str]:
    """Yield the names again and again. `itertools.cycle` would copy them, and so grow meanwhile."""
    while True:
        yield from names


def work(names: Iterator[str]) -> None:
    """Call tools and ask caches, a batch of each."""
    cache: cachetools.LRUCache[int, int] = cachetools.LRUCache(100)
    metertap.name_cache(cache, "soak")
    for number, name in zip(range(BATCH // 10), names, strict=False):
        cache.get(number % 150)
        cache[number % 200] = number
        metertap.record_tool_call(name, 0.1)
        with metertap.measure_tool(name):
            pass


def soak(seconds: float, warm_up: float, count: int) -> tuple[list[Minute], int]:
    """Work for that long after the warm-up; return the minutes, and how many calls were made."""

    @metertap.tool
    def search() -> None:
        pass

    hostile = hostile_names(count)
    names = endless(hostile)
    minutes: list[Minute] = []
    calls = 0
    with metertap.instrument(
        window_size=WINDOW, prometheus=True, json_port=0, prometheus_port=0
    ) as tap:
        known = endless(hostile[:SERIES])
        for _ in range(min(count, SERIES) * PASSES * 10 // BATCH):
            work(known)
        while tap.is_active and not (tap.json_url and tap.prometheus_url):
            search()
            time.sleep(0.01)
        urls = [f"{url}/metrics" for url in (tap.prometheus_url, tap.json_url) if url]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", _READER, *urls], **pipes) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(b"\n")
            reader.stdin.flush()
            costs: list[float] = []
            readings: list[Memory] = []
            begun = time.monotonic() + warm_up
            due = begun + MINUTE
            while due <= begun + seconds + 1:
                before = time.thread_time()
                for _ in range(BATCH):
                    search()
                costs.append((time.thread_time() - before) / BATCH)
                work(names)
                time.sleep(0.0 if tap.is_active else UNMEASURED_PAUSE)
                calls += BATCH + 2 * (BATCH // 10)
                if select.select([reader.stdout], [], [], 0)[0]:
                    assert os.read(reader.stdout.fileno(), 10), "the reader has ended"
                    readings.append(memory())
                    reader.stdin.write(b"\n")
                    reader.stdin.flush()
                now = time.monotonic()
                if now < begun:
                    costs.clear()
                    readings.clear()
                elif now >= due and readings:
                    due += MINUTE
                    minutes.append(
                        Minute(
                            statistics.median(item.in_use for item in readings),
                            min(item.resident for item in readings),
                            statistics.median(costs),
                        )
                    )
                    costs.clear()
                    readings.clear()
            reader.kill()
        faults = tap.diagnosis()["faults"]
        assert not faults, faults
    return minutes, calls


def slope(minutes: list[float]) -> Slope:
    """Return the slope of bytes by least squares, one value for each minute."""
    hours = [number * MINUTE / 3600 for number in range(len(minutes))]
    megabytes = [value / 1e6 for value in minutes]
    line = statistics.linear_regression(hours, megabytes)
    left = sum(
        (value - line.intercept - line.slope * hour) ** 2
        for hour, value in zip(hours, megabytes, strict=True)
    )
    spread = sum((hour - statistics.mean(hours)) ** 2 for hour in hours)
    return Slope(line.slope, (left / max(1, len(hours) - 2) / spread) ** 0.5)


def described(minutes: list[Minute], calls: int) -> dict[str, Any]:
    """Make the figures of one process."""
    in_use, resident = ([item.in_use for item in minutes], [item.resident for item in minutes])
    third = max(1, len(minutes) // 3)
    return {
        "minutes": len(minutes),
        "calls": calls,
        "in_use_mb": [round(value / 1e6, 2) for value in in_use],
        "in_use": slope(in_use)._asdict(),
        "resident_mb": [round(value / 1e6, 1) for value in resident],
        "resident": slope(resident)._asdict(),
        "call_us_first_third": round(statistics.median(m.call for m in minutes[:third]) * 1e6, 3),
        "call_us_last_third": round(statistics.median(m.call for m in minutes[-third:]) * 1e6, 3),
        "load": os.getloadavg()[1],
    }


def main() -> int:
    """Run, print the figures as JSON, and return 1 if one is beyond its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for how long (10)")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_MINUTES, help="minutes before (2)")
    parser.add_argument("--names", type=int, default=NAMES, help="hostile ones (100,000)")
    parser.add_argument("--alone", action="store_true", help="nothing beside it")
    given = parser.parse_args()
    if given.alone:
        found = described(*soak(given.minutes * MINUTE, given.warm_up * MINUTE, given.names))
        json.dump(found, sys.stdout)
        return 0
    line = [sys.executable, "-m", "benchmarks.soak", "--alone", *sys.argv[1:]]
    switched_off = {**os.environ, "PERFORMANCE_METRICS_ENABLED": "false"}
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE) as measured,
        subprocess.Popen(line, stdout=subprocess.PIPE, env=switched_off) as beside,
    ):
        on, off = (json.loads(process.communicate()[0]) for process in (measured, beside))
    print(json.dumps({"measured": on, "switched off": off}, indent=2))
    resident = Slope(**on["resident"])
    return int(
        on["in_use"]["mb_per_hour"] > MEGABYTES_PER_HOUR
        or resident.mb_per_hour - 2 * resident.standard_error > MEGABYTES_PER_HOUR
        or on["call_us_last_third"] > on["call_us_first_third"] * SLOWER
    )


if __name__ == "__main__":
    sys.exit(main())
