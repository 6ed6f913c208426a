"""`python -m benchmarks.history [PART ...]`: what a history costs, and that it is true.

`write` is 1,000 series each interval: their time off the path, and their bytes. `calls` is what
calls see of that. `query` asks for 30 days of 100 tools. `percentiles` has their error. `kill` ends
a process by SIGKILL while it writes, 100 times; `full` lets the disk be full and `closed` makes the
folder read-only as often. Without a part, all are measured. Exit status 1 says that a limit is
missed.
"""

from __future__ import annotations

import math
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from metertap.history.answers import HistoryError, Subject
from metertap.history.file_answers import FileAnswers
from metertap.history.gathering import Gathering
from metertap.history.sketch import Sketch
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from metertap.history.trends import as_json, trends
from metertap.recording import Recorder

WRITE_MS, BYTES, QUERY_MS, ERROR, TIMES = 50.0, 100.0, 500.0, 0.01, 100
"""The limits: of an interval of 1,000 series, of a series in it, of a query, of a percentile."""
_SERIES = 1000
_DAY = 86_400
_START = 20_000 * _DAY
_RUN = Run("shop", "1.0", "one")
_MOST_BYTES = 4_000_000_000
_NOBODY = 65_534
Values = Callable[[random.Random], float]

DISTRIBUTIONS: dict[str, Values] = {
    "log-normal, σ 0.5": lambda by: by.lognormvariate(-3, 0.5),
    "log-normal, σ 1": lambda by: by.lognormvariate(-3, 1.0),
    "bimodal": lambda by: by.lognormvariate(-6 if by.random() < 0.6 else -1, 0.3),
    "heavy tail": lambda by: 0.01 * by.paretovariate(1.2),
}


class Took(NamedTuple):
    """Seconds by the clock, and of the processor."""

    clock: float
    processor: float


def intervals(
    folder: Path, calls: int, count: int, series: int = _SERIES
) -> tuple[list[Took], float]:
    """Write `count` intervals; return the time of each, and bytes a series and interval."""
    by = random.Random(1)
    recorder = Recorder(series_limit=10 * series)
    gathering = Gathering(recorder, lambda: None)
    gathering.start()
    tools = [recorder.tool(f"tool {number}", "mcp") for number in range(series)]
    middles = [by.uniform(-6, 0) for _ in tools]
    took = []
    path = folder / f"{calls}.db"
    with closing(Store(path, _MOST_BYTES)) as store:
        for number in range(count + 1):
            for tool, middle in zip(tools, middles, strict=True):
                for _ in range(calls):
                    seconds = by.lognormvariate(middle, 0.5)
                    if by.random() < 0.02:
                        recorder.record_tool(tool, "exception", "ValueError", seconds * 1000)
                    else:  # as patches do it
                        recorder.started(tool)
                        tool.append(seconds)
            recorder.fold()  # as calls do
            began, worked = time.perf_counter(), time.thread_time()
            store.write(_RUN, [(_START + 10 * number, gathering.take())])
            took.append(Took(time.perf_counter() - began, time.thread_time() - worked))
            if number == 0:
                before = store.bytes_used()  # tables and names of tools are there once
        return took[1:], (store.bytes_used() - before) / (count * series)


def write(folder: Path) -> bool:
    """Print what an interval of 1,000 series costs.

    The limit is one of the processor's time: what else a machine does is not the history's doing.
    It holds for 10,000 calls a second.
    """
    fits = True
    for calls in (5, 10, 20, 50, 100):
        took, size = intervals(folder, calls, 12)
        middle, worked = (1000 * statistics.median(of) for of in zip(*took, strict=True))
        fits &= worked <= WRITE_MS and size <= BYTES
        print(
            f"write: {_SERIES} series of {calls} calls: {middle:.1f} ms an interval, "
            f"{worked:.1f} of them by the processor; {size:.0f} bytes a series and interval"
        )
    return fits


def calls(folder: Path, seconds: float = 30.0) -> bool:
    """Print the p99 of calls in a process with and without the thread that writes."""
    found = {}
    for name, path in (("without", None), ("with", folder / "calls.db")):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.history", "--caller", str(seconds), str(path or "")],
            check=True,
            capture_output=True,
            text=True,
        )
        found[name] = [float(part) for part in done.stdout.split()]
        print(
            f"calls: {name} history: p50 {found[name][0]:.1f}, p99 {found[name][1]:.1f}, "
            f"p99.9 {found[name][2]:.1f}, longest {found[name][3]:.0f} µs"
        )
    added = found["with"][1] - found["without"][1]
    print(f"calls: p99 differs by {added:.1f} µs; a switch interval is {sys.getswitchinterval()} s")
    return added <= 1e6 * sys.getswitchinterval()


def _caller(seconds: float, path: str) -> None:
    """Call a tool again and again while others fill 1,000 series, and print how long it took."""
    import metertap

    metertap.instrument(json_endpoint=False, history=path or None)

    @metertap.tool(name="watched")
    def watched() -> None:
        """Do nothing."""

    stop = threading.Event()
    by = random.Random(1)

    def fill() -> None:  # at most 2,000 calls a second
        while not stop.wait(0.05):
            for _ in range(100):
                name = f"tool {by.randrange(_SERIES)}"
                metertap.record_tool_call(name, True, by.lognormvariate(3, 0.5))

    filling = threading.Thread(target=fill, daemon=True)
    filling.start()
    took = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        watched()
        took.append((time.perf_counter() - began) * 1e6)
        if len(took) % 100 == 0:
            time.sleep(0.001)
    stop.set()
    filling.join()
    took.sort()
    print(*(took[int(share * len(took))] for share in (0.5, 0.99, 0.999)), took[-1])


def month(path: Path, tools: int = 100, days: int = 30) -> float:
    """Write days of tools, and tend the file as a process does; return when they end.

    To write each of ten seconds would take hours: it is done for the last two hours, and before
    them once an hour, with as many calls. That is what the file holds once it is rolled up.
    """
    by = random.Random(1)
    subjects = [Subject("tool", f"tool {number}", "mcp") for number in range(tools)]
    end = _START + days * _DAY + _DAY // 2
    with closing(Store(path, _MOST_BYTES)) as store:
        fine = end - 7200
        for start in range(_START, fine, 3600):
            store.write(_RUN, [(start, _tallies(subjects, by, 300))])
            if start % _DAY == 0:
                store.tend(start)
        for start in range(fine, end, 10):
            store.write(_RUN, [(start, _tallies(subjects, by, 2))])
            if start % 60 == 0:
                store.tend(start)
    return end


def _tallies(subjects: Sequence[Subject], by: random.Random, calls: int) -> dict[Subject, Tally]:
    made = {}
    for number, subject in enumerate(subjects):
        tally = made[subject] = Tally({"ok": calls})
        tally.sketch().add([by.lognormvariate(-3 + number / 100, 0.5) for _ in range(calls)])
    return made


def query(folder: Path) -> bool:
    """Print how long it takes to ask for 30 days of 100 tools."""
    path = folder / "month.db"
    end = month(path)
    fits = True
    for text, step, name in (
        ("all tools, by day", _DAY, None),
        ("all tools, by 6 hours", 6 * 3600, None),
        ("one tool, by hour", 3600, "tool 7"),
    ):
        took = []
        for _ in range(5):
            began, worked = time.perf_counter(), time.process_time()
            with closing(FileAnswers(path)) as answers:
                asked = trends(answers, since=end - 30 * _DAY, until=end, step=step, name=name)
                as_json(asked)
            took.append(Took(time.perf_counter() - began, time.process_time() - worked))
        middle, by_processor = (1000 * statistics.median(of) for of in zip(*took, strict=True))
        fits &= by_processor <= QUERY_MS
        periods = sum(len(trend.slices) for trend in asked.trends)
        print(
            f"query: 30 days, {text}: {middle:.0f} ms for {periods} periods, "
            f"{by_processor:.0f} of them by the processor"
        )
    print(f"query: the file has {path.stat().st_size / 1e6:.1f} MB")
    return fits


def errors(seed: int, count: int = 20_000) -> Iterator[tuple[str, float]]:
    """Yield the greatest relative error of p50, p95 and p99 by distribution, 100 parts merged."""
    for name, value in DISTRIBUTIONS.items():
        by = random.Random(seed)
        values = [value(by) for _ in range(count)]
        whole = Sketch()
        for part in range(100):
            sketch = Sketch()
            sketch.add(values[part::100])
            whole.merge(Sketch.unpack(sketch.pack()))
        values.sort()
        worst = 0.0
        for share in (0.5, 0.95, 0.99):
            exact = values[math.ceil(share * count) - 1]
            worst = max(worst, abs((whole.quantile(share) or 0) / exact - 1))
        yield name, worst


def percentiles(_folder: Path) -> bool:
    """Print the errors of percentiles."""
    worst = 0.0
    for name in DISTRIBUTIONS:
        found = max(error for seed in range(5) for of, error in errors(seed) if of == name)
        worst = max(worst, found)
        print(f"percentiles: {name}: at most {found:.2%} beside the nearest rank")
    return worst <= ERROR


def kill(folder: Path, times: int = TIMES) -> bool:
    """Kill a process that writes, again and again, and look for intervals that it had committed."""

    def ends(process: subprocess.Popen[str]) -> None:
        time.sleep(by.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)

    by = random.Random(1)
    return _repeated(folder / "killed.db", "writer", times, ends)


def full(folder: Path, times: int = TIMES) -> bool:
    """Let files grow no longer while they are written, as on a full disk, and then again."""
    return _repeated(folder / "full.db", "full", times)


def closed(_folder: Path, times: int = TIMES) -> bool:
    """Make file and folder read-only between two intervals, and then writable again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "closed", "closed.db")
        path.parent.mkdir()
        if os.getuid() == 0:  # who may do everything would not be hindered
            Path(folder).chmod(0o711)
            os.chown(path.parent, _NOBODY, _NOBODY)
        return _repeated(path, "closed", times)


def _repeated(
    path: Path,
    how: str,
    times: int,
    ends: Callable[[subprocess.Popen[str]], None] = lambda _process: None,
) -> bool:
    """Have a process write so many times, and look for intervals that it said were committed."""
    lost = committed = failed = 0
    for number in range(times):
        command = [sys.executable, "-m", "benchmarks.history", f"--{how}", str(path), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = list(islice(process.stdout, 5))
            ends(process)
            said += process.stdout.readlines()
        committed += said.count("x\n")
        failed += said.count("failed\n")
        with closing(FileAnswers(path)) as answers:
            slices = answers.slices(since=0, until=1e11, step=1e12, name="search")
            less = committed - sum(each.calls for each in slices)
            # One that is killed may not have said that an interval is committed.
            lost = max(lost, less if how == "writer" else abs(less))
    failures = "" if how == "writer" else f", of which {failed} were refused at first,"
    print(
        f"{path.stem}: {times} times; of {committed} committed intervals{failures} {lost} were lost"
    )
    return not lost and committed > times and (how == "writer" or failed >= times)


def _hindered(how: str, path: str, number: str) -> None:
    """Write intervals, with some that cannot be written at first; say what became of each."""
    by, subjects = random.Random(int(number)), [Subject("tool", "search", "mcp")]
    folder = Path(path).parent
    if how == "closed" and os.getuid() == 0:
        os.setuid(_NOBODY)
    hindered = by.randrange(5, 40)
    store: Store | None = None
    for place in range(hindered + 10):
        if place == hindered:
            if how == "full":
                size = max(file.stat().st_size for file in folder.glob(f"{Path(path).name}*"))
                limit = (size + by.randrange(20_000), resource.RLIM_INFINITY)
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            else:
                assert store is not None
                store.close()
                store = None
                Path(path).chmod(0o400)
                folder.chmod(0o500)
        start = _START + 10_000 * int(number) + 10 * place
        while True:
            try:
                store = store or Store(Path(path), _MOST_BYTES)
                for _ in range(100 if place == hindered and how == "full" else 1):
                    store.write(_RUN, [(start, _tallies(subjects, by, 1))])
                    os.write(1, b"x\n")
                break
            except HistoryError:
                os.write(1, b"failed\n")
                if store is not None:
                    store.close()
                store = None
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
                folder.chmod(0o700)
                Path(path).chmod(0o600)


def _writer(path: str, number: str) -> None:
    """Write intervals of one call, say so after each, and tend the file meanwhile."""
    by, subjects = random.Random(1), [Subject("tool", "search", "mcp")]
    with closing(Store(Path(path), _MOST_BYTES)) as store:
        for start in range(_START + 10_000 * int(number), _START + _DAY * 1000, 10):
            store.write(_RUN, [(start, _tallies(subjects, by, 1))])
            os.write(1, b"x\n")
            if start % 100 == 0:
                store.tend(start)


PARTS = {part.__name__: part for part in (write, calls, query, percentiles, kill, full, closed)}


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--caller"]:
        _caller(float(arguments[1]), arguments[2])
        return 0
    if arguments[:1] == ["--writer"]:
        _writer(*arguments[1:])
        return 0
    if arguments[:1] in (["--full"], ["--closed"]):
        _hindered(arguments[0].removeprefix("--"), *arguments[1:])
        return 0
    with tempfile.TemporaryDirectory() as folder:
        results = [PARTS[name](Path(folder)) for name in arguments or PARTS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
