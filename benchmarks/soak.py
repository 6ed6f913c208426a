"""`python -m benchmarks.soak --minutes 10`: memory and latency of a process at its top rate.

One thread calls tools and asks caches as fast as it can, under names of which 100,000 are hostile,
while another process asks for the document and for Prometheus' text every second. What is told: how
memory grows, by the median slope between its samples, and what a call costs at the beginning
and at the end, in CPU time of the thread, which does not depend on what else the machine does. The
first fifth of the time is left out: names, windows and pools fill then. Memory is read while no
answer is being made: one that is being written takes megabytes for a moment.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cachetools

import metertap

NAMES, BATCH = 100_000, 2_000
SAMPLE_SECONDS = 30.0
WINDOW = 10
"""Samples of a window: those of names that are seldom called have to be full when it counts."""
MEGABYTES_PER_HOUR = 1.0
"""The slope of memory that is promised at most."""
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


class Sample(NamedTuple):
    """What was seen at one moment: seconds since the start, bytes, and seconds of a call."""

    at: float
    memory: int
    call: float
    blocks: int
    """What Python has allocated and not freed, which no allocator's free space is part of."""


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


def memory() -> int:
    """Return the resident memory of this process in bytes, without what is free; for Linux."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


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


def soak(seconds: float, count: int) -> tuple[list[Sample], int]:
    """Work for that long; return the samples, and how many calls were made."""

    @metertap.tool
    def search() -> None:
        pass

    names = itertools.cycle(hostile_names(count))
    samples: list[Sample] = []
    calls = 0
    started = time.monotonic()
    with metertap.instrument(
        window_size=WINDOW, prometheus=True, json_port=0, prometheus_port=0
    ) as tap:
        while not (tap.json_url and tap.prometheus_url):
            search()
            time.sleep(0.01)
        urls = [f"{tap.json_url}/metrics", f"{tap.prometheus_url}/metrics"]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", _READER, *urls], **pipes) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(b"\n")
            reader.stdin.flush()
            costs: list[float] = []
            readings: list[int] = []
            blocks: list[int] = []
            due = started + SAMPLE_SECONDS
            while (now := time.monotonic()) < started + seconds:
                before = time.thread_time()
                for _ in range(BATCH):
                    search()
                costs.append((time.thread_time() - before) / BATCH)
                work(names)
                calls += BATCH + 2 * (BATCH // 10)
                if select.select([reader.stdout], [], [], 0)[0]:
                    assert os.read(reader.stdout.fileno(), 10), "the reader has ended"
                    readings.append(memory())
                    blocks.append(sys.getallocatedblocks())
                    reader.stdin.write(b"\n")
                    reader.stdin.flush()
                if now >= due and readings:
                    due = now + SAMPLE_SECONDS
                    middle = int(statistics.median(readings))
                    cost, block = statistics.median(costs), int(statistics.median(blocks))
                    samples.append(Sample(now - started, middle, cost, block))
                    blocks.clear()
                    costs.clear()
                    readings.clear()
            reader.kill()
        faults = tap.diagnosis()["faults"]
        assert not faults, faults
    return samples, calls


def slope(points: list[tuple[float, float]]) -> float:
    """Return the median of the slopes between all pairs of points (Theil and Sen).

    An answer that is being written while memory is read moves a least-squares line, not this.
    """
    pairs = itertools.combinations(points, 2)
    return statistics.median((other[1] - one[1]) / (other[0] - one[0]) for one, other in pairs)


def main() -> int:
    """Run, print the figures as JSON, and return 1 if one is beyond its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for how long (10)")
    parser.add_argument("--names", type=int, default=NAMES, help="hostile ones (100,000)")
    given = parser.parse_args()
    minutes: float = given.minutes
    samples, calls = soak(minutes * 60, given.names)
    settled = samples[len(samples) // 5 :]
    grows = slope([(item.at / 3600, item.memory / 1e6) for item in settled])
    third = len(settled) // 3
    first = statistics.median(item.call for item in settled[:third])
    last = statistics.median(item.call for item in settled[-third:])
    found = {
        "minutes": minutes,
        "calls": calls,
        "memory_mb": round(settled[-1].memory / 1e6, 1),
        "mb_per_hour": round(grows, 2),
        "blocks": settled[-1].blocks,
        "blocks_per_hour": round(slope([(item.at / 3600, item.blocks) for item in settled])),
        "call_us_first_third": round(first * 1e6, 3),
        "call_us_last_third": round(last * 1e6, 3),
        "load": os.getloadavg()[1],
    }
    print(json.dumps(found, indent=2))
    print("blocks:", *(item.blocks for item in samples), file=sys.stderr)
    print("MB:", *(f"{item.memory / 1e6:.1f}" for item in samples), file=sys.stderr)
    return int(grows > MEGABYTES_PER_HOUR or last > first * SLOWER)


if __name__ == "__main__":
    sys.exit(main())
