"""`python -m benchmarks.fleet`: percentiles of many processes, merged by a store and exact.

Each process records latencies of three shapes by metertap and exports them over OTLP, through a
real collector (`rotel-agent`) to real stores (`victoria-metrics`, and `prometheus` with native
histograms), all on PATH. A store is asked for p50, p95 and p99 over all of them; the exact ones are
of all latencies together (nearest rank). Each process is slower by a factor of its own, as machines
of a fleet are.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import metertap
from benchmarks.native_histograms import bridge
from metertap import promql

LIMIT = 0.01
"""Relative error that is promised at most, for exponential histograms."""
AGGREGATION = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
_EXPONENTIAL = "base2_exponential_bucket_histogram"
KINDS = {
    "exponential": _EXPONENTIAL,
    "native": _EXPONENTIAL,
    "classic": "explicit_bucket_histogram",
}
"""The SDK's aggregation; `native` is written to a Prometheus, the others to VictoriaMetrics."""
SHARES = (0.5, 0.95, 0.99)


def _bimodal(numbers: random.Random) -> float:
    fast = numbers.random() < 0.7
    return numbers.lognormvariate(math.log(0.02 if fast else 1.5), 0.2 if fast else 0.3)


SHAPES: dict[str, Callable[[random.Random], float]] = {
    "log-normal": lambda numbers: numbers.lognormvariate(math.log(0.1), 0.5),
    "bimodal": _bimodal,
    "heavy-tailed": lambda numbers: 0.01 * numbers.paretovariate(1.3),
}


def latencies(number: int, calls: int) -> Iterator[tuple[str, float]]:
    """Make the calls of one process: tool and seconds, the same for the same number."""
    numbers = random.Random(1000 + number)
    slower = 1 + 0.3 * numbers.random()
    for name, shape in SHAPES.items():
        for _ in range(calls):
            yield name, slower * shape(numbers)


def record(number: int, calls: int) -> None:
    """Be one of the processes."""
    with metertap.instrument(json_endpoint=False) as tap:
        for name, seconds in latencies(number, calls):
            metertap.record_tool_call(name, success=True, latency_ms=seconds * 1000)
        tap.flush(60_000)


def errors(kind: str, processes: int, calls: int) -> dict[str, dict[str, float]]:
    """Run the processes and return the relative errors, by shape and percentile."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.waiting import wait_for

    is_native = kind == "native"
    count = f"sum({promql.DURATION}_count)"
    if is_native:
        count = f"histogram_count(sum({promql.DURATION}))"
    with tempfile.TemporaryDirectory() as folder, _receiver(Path(folder), is_native) as receiver:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            AGGREGATION: KINDS[kind],
        }
        command = [sys.executable, "-m", "benchmarks.fleet", "--calls", str(calls), "--process"]
        for number in range(processes):
            subprocess.run([*command, str(number)], env={**os.environ, **variables}, check=True)
        total = processes * calls * len(SHAPES)
        wait_for(lambda: receiver.store.value(count) == total)
        found: dict[str, dict[str, float]] = {}
        for name in SHAPES:
            every = sorted(
                seconds
                for number in range(processes)
                for tool, seconds in latencies(number, calls)
                if tool == name
            )
            found[name] = {}
            for share in SHARES:
                estimate = promql.quantile(share, promql.DURATION, partial(_of_tool, name))
                merged = receiver.store.value(estimate)
                exact = every[math.ceil(share * len(every)) - 1]
                found[name][f"p{share * 100:g}"] = round((merged or math.nan) / exact - 1, 4)
        return found


def _of_tool(name: str, metric: str) -> str:
    return f'{metric}{{{promql.TOOL}="{name}"}}'


@contextmanager
def _receiver(folder: Path, is_native: bool) -> Iterator[Any]:
    """Start a collector and a store behind it."""
    from servers.real_servers import collector, collector_to, prometheus

    if not is_native:
        with collector(folder) as receiver:
            yield receiver
        return
    with (
        prometheus(folder / "store", takes_native=True) as store,
        bridge(store.url) as endpoint,
        collector_to(folder, store, endpoint) as receiver,
    ):
        yield receiver


def main() -> int:
    """Print the errors as JSON; return 1 where one of exponential histograms is past the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--processes", type=int, default=20, help="how many (20)")
    parser.add_argument("--calls", type=int, default=2000, help="of each tool and process (2000)")
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.process is not None:
        record(arguments.process, arguments.calls)
        return 0
    found = {kind: errors(kind, arguments.processes, arguments.calls) for kind in KINDS}
    print(json.dumps(found, indent=2))
    exponential = [found[kind] for kind, value in KINDS.items() if value == _EXPONENTIAL]
    errors_found = [error for each in exponential for of in each.values() for error in of.values()]
    worst = max(map(abs, errors_found))
    return int(not worst <= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
