"""`python -m benchmarks.engines`: what a day of figures takes in each place that can keep them.

A day of ten tools, 200 calls an hour each: in the file of a history (ten-second intervals), and as
scraped each 15 seconds in a Prometheus and a VictoriaMetrics, both on PATH (with `promtool`). What
is told is how large it is, and the processor time of who asks the same question: each tool, hour by
hour, and versions.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from metertap import catalogue, promql
from metertap.cli.engines import open_history
from metertap.history.answers import Subject
from metertap.history.store import Run, Store
from metertap.history.tally import Tally

TOOLS, CALLS_AN_HOUR, SCRAPE, INTERVAL, DAY = 10, 200, 15, 10, 86_400
START = int(time.time()) // DAY * DAY - 2 * DAY
BOUNDS = [*catalogue.TOOL_DURATION.buckets, math.inf]


def calls() -> dict[str, list[tuple[float, float]]]:
    """Make the calls of each tool: seconds since the start, and how long it took."""
    chance = random.Random(3)
    return {
        f"tool {number}": sorted(
            (chance.random() * DAY, chance.lognormvariate(math.log(0.05), 0.5))
            for _ in range(CALLS_AN_HOUR * 24)
        )
        for number in range(TOOLS)
    }


def openmetrics(made: dict[str, list[tuple[float, float]]]) -> Iterator[str]:
    """Write what a scrape of each 15 s saw, series by series."""
    target = 'job="shop",instance="one"'
    stamps = range(START, START + DAY, SCRAPE)
    yield "# TYPE target info"
    about = f'{target},service_name="shop",service_version="1.0"'
    yield from (f"target_info{{{about}}} 1 {stamp}" for stamp in stamps)
    yield f"# TYPE {promql.DURATION} histogram"
    for name, of in made.items():
        told = f'{target},{promql.TOOL}="{name}",{promql.OUTCOME}="ok"'
        for bound in BOUNDS:
            seen = [at for at, seconds in of if seconds <= bound]
            le = "+Inf" if math.isinf(bound) else f"{bound:g}"
            yield from _samples(f'{promql.DURATION}_bucket{{{told},le="{le}"}}', seen)
        yield from _samples(f"{promql.DURATION}_count{{{told}}}", [at for at, _ in of])
    yield "# EOF"


def _samples(series: str, seen: list[float]) -> Iterator[str]:
    count = 0
    for stamp in range(0, DAY, SCRAPE):
        while count < len(seen) and seen[count] <= stamp:
            count += 1
        yield f"{series} {count} {START + stamp}"


def in_file(path: Path, made: dict[str, list[tuple[float, float]]]) -> None:
    """Write the same as a process with a history does."""
    intervals: dict[int, dict[Subject, Tally]] = {}
    for name, of in made.items():
        for at, seconds in of:
            start = START + int(at) // INTERVAL * INTERVAL
            tallies = intervals.setdefault(start, {})
            tally = tallies.setdefault(Subject("tool", name, "mcp"), Tally())
            tally.outcomes["ok"] = tally.outcomes.get("ok", 0) + 1
            tally.sketch().add([seconds])
    with closing(Store(path, 10**9)) as store:
        for start, tallies in sorted(intervals.items()):
            store.write(Run("shop", "1.0", "one"), [(start, tallies)])


def asked(history: str) -> tuple[float, float]:
    """Return the processor time of a question, and the share of the calls that are told of."""
    started = time.process_time()
    with closing(open_history(history)) as answers:
        assert [version.version for version in answers.versions()] == ["1.0"]
        whole = {"since": START, "until": START + DAY, "step": 3600.0}
        told = sum(piece.calls for piece in answers.slices(**whole))
    return time.process_time() - started, told / (TOOLS * CALLS_AN_HOUR * 24)


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def show(name: str, taken: int, history: str) -> None:
    """Print one line of the table."""
    seconds, share = asked(history)
    print(
        f"{name:<18} {taken / 1e6:8.2f} MB  {taken / TOOLS / 1e3:8.1f} kB a tool and day  "
        f"{seconds:6.2f} s of CPU a question  {share:6.1%} of the calls",
        flush=True,
    )


def main() -> int:
    """Print a line for each place."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from servers.real_servers import prometheus_of, victoria_metrics
    from support.waiting import wait_for

    made = calls()
    lines = list(openmetrics(made))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_file(folder / "history.db", made)
        show("history", (folder / "history.db").stat().st_size, str(folder / "history.db"))
        with prometheus_of(folder / "prometheus", "\n".join(lines) + "\n") as store:
            blocks = [path for path in (folder / "prometheus" / "data").iterdir() if path.is_dir()]
            kept = sum(size(path) for path in blocks if (path / "meta.json").exists())
            show("Prometheus", kept, store.url)
        with victoria_metrics(folder / "victoria") as store:
            samples = [line.rpartition(" ") for line in lines if line[0] != "#"]
            body = "\n".join(f"{series} {stamp}000" for series, _, stamp in samples).encode()
            urllib.request.urlopen(f"{store.url}/api/v1/import/prometheus", body).close()
            urllib.request.urlopen(f"{store.url}/internal/force_flush").close()
            urllib.request.urlopen(f"{store.url}/internal/force_merge").close()
            count = f"count(last_over_time({promql.DURATION}_count[3d]))"
            wait_for(lambda: store.value(count) == TOOLS)
            data = folder / "victoria" / "data"
            show("VictoriaMetrics", size(data), store.url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
