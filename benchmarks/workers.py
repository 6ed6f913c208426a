"""Several workers as one server: is a call lost or doubled, what does a scrape of all cost?

    python -m benchmarks.workers [lost] [killed] [scrape] [multiprocess] [--calls 1000000]

Servers are gunicorn's, with four workers. Exits 1 where a call is lost or doubled.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
WORKERS = 4
CLIENTS = 4
SETTLE_SECONDS = 3.0
_MOST_SECONDS = 300.0
"""The longest that anything is waited for."""
_TOOLS = 200
_FILLS = 20
"""Requests of 10,000 calls that fill the windows of all tools."""
_BETWEEN = {
    "nothing new": (0, 0),
    "20 tools called 4 times": (4, 20),
    "every tool called 4 times": (4, _TOOLS),
    "every tool called 32 times": (32, _TOOLS),
}
"""Requests between two scrapes, and the tools that each calls once."""
_COUNT = "gen_ai_execute_tool_duration_seconds_count{"


@dataclass
class Server:
    """A running server, and what its clients know of it."""

    process: subprocess.Popen[bytes]
    port: int
    json_port: int
    prometheus_port: int
    folder: Path
    answered: int = 0
    """Calls of tools in requests that were answered."""
    unanswered: int = 0
    seconds: float = 0.0
    """What the calls took of the processor."""
    pids: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, calls: int) -> int:
        """Send one request, which is so many calls; return who answered, 0 if nobody did."""
        try:
            pid, seconds = get(self.port, f"/?{calls}").split()
        except (OSError, http.client.HTTPException):
            with self._lock:
                self.unanswered += calls
            return 0
        with self._lock:
            self.answered += calls
            self.seconds += float(seconds)
            self.pids.add(int(pid))
        return int(pid)

    def counted(self) -> int:
        """Calls that the JSON document has."""
        tools = json.loads(get(self.json_port, "/metrics"))["tool_metrics"].values()
        return sum(tool["total_calls"] for tool in tools)

    def scraped(self) -> int:
        """Calls that Prometheus' histograms have."""
        lines = get(self.prometheus_port, "/metrics").decode().splitlines()
        return round(sum(float(line.split()[-1]) for line in lines if line.startswith(_COUNT)))

    def settled(self, read: Callable[[], int]) -> int:
        """What is read once nothing happens any more."""
        time.sleep(SETTLE_SECONDS)
        (found,) = waited(lambda: (read(),))
        return found


def waited(look: Callable[[], T | None], every: float = 0.05) -> T:
    """Return what `look` finds, once it finds something. Raises TimeoutError."""
    until = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < until:
        with suppress(OSError, http.client.HTTPException):
            if found := look():
                return found
        time.sleep(every)
    raise TimeoutError(f"nothing came in {_MOST_SECONDS:.0f} s")


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"{answer.status}: {body[:200]!r}")
        return body
    finally:
        connection.close()


@contextmanager
def gunicorn(*options: str, workers: int = WORKERS, **env: str) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="metertap-"))
    ports = _free_ports(3)
    port, json_port, prometheus_port = ports
    (folder / "multiprocess").mkdir()
    environment = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(folder),
        "METRICS_JSON_PORT": str(json_port),
        "PROMETHEUS_ENABLED": "true",
        "PROMETHEUS_PORT": str(prometheus_port),
        "METERTAP_ANNOUNCE": "false",
        **env,
    }
    if env.get("METER") == "prometheus_client":
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(folder / "multiprocess")
    command = [str(Path(sys.executable).with_name("gunicorn")), "-b", f"127.0.0.1:{port}"]
    command += ["-w", str(workers), "--log-level", "error", "--preload", *options]
    process = subprocess.Popen(
        [*command, os.environ.get("APP", "benchmarks.workers_app:app")], env=environment
    )
    try:
        server = Server(process, port, json_port, prometheus_port, folder)
        waited(lambda: get(port, "/?0"))
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


def _load(server: Server, calls: int, each: int, disturb: Callable[[], None]) -> int:
    """Make so many calls from several clients, and disturb; return how often counts went down."""
    left = [calls // each]
    lock = threading.Lock()

    def client() -> None:
        while True:
            with lock:
                if left[0] <= 0:
                    return
                left[0] -= 1
            server.ask(each)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in clients:
        thread.start()
    shown, went_down = {server.counted: 0, server.scraped: 0}, 0
    while any(thread.is_alive() for thread in clients):
        disturb()
        for read in shown:
            with suppress(OSError, http.client.HTTPException):  # the port passes on
                now = read()
                if now < shown[read]:
                    went_down += 1
                    print(f"lost: {read.__name__} went from {shown[read]:,} down to {now:,}")
                shown[read] = max(shown[read], now)
        time.sleep(0.5)
    for thread in clients:
        thread.join()
    return went_down


def lost(calls: int) -> bool:
    """Recycle workers, end them by SIGTERM and reload the server while calls are counted."""
    chance = random.Random(1)
    ends = {"SIGTERM": 0, "reload": 0}
    with gunicorn("--max-requests", "400", "--max-requests-jitter", "200", TOOLS="5") as server:
        began = due = time.monotonic()

        def disturb() -> None:
            nonlocal due
            now = time.monotonic()
            if now < due:
                return
            due = now + 2
            if chance.random() < 0.3:
                server.process.send_signal(signal.SIGHUP)
                ends["reload"] += 1
                return
            with suppress(OSError, http.client.HTTPException):
                workers = json.loads(get(server.json_port, "/metrics"))["workers"]
                if workers:  # more than one
                    os.kill(chance.choice(workers)["pid"], signal.SIGTERM)
                    ends["SIGTERM"] += 1

        went_down = _load(server, calls, 50, disturb)
        took = time.monotonic() - began
        counted, scraped = server.settled(server.counted), server.settled(server.scraped)
    print(
        f"lost: {server.answered:,} calls in {took:.0f} s by {len(server.pids)} workers "
        f"({ends['SIGTERM']} × SIGTERM, {ends['reload']} × reload, the rest recycled); "
        f"JSON differs by {counted - server.answered:+d}, Prometheus by "
        f"{scraped - server.answered:+d}; unanswered {server.unanswered}; "
        f"counts went down {went_down} times"
    )
    return counted == scraped == server.answered and not went_down and not server.unanswered


def killed(kills: int = 10) -> bool:
    """Kill workers, every other time the holder of the port, right after they were at work."""
    most = 0.0
    passed: list[float] = []
    with gunicorn(TOOLS="5") as server:
        for number in range(kills):
            workers = _wait_for_workers(server)
            holder = next(item["pid"] for item in workers if item["state"] == "holds the port")
            others = [item["pid"] for item in workers if item["pid"] != holder]
            victim = int(str(holder if number % 2 else others[0]))
            missed = server.answered - server.settled(server.counted)
            in_a_second = _calls_of(server, victim, seconds=1.0)
            os.kill(victim, signal.SIGKILL)
            if victim == holder:
                passed.append(_until_answered(server.json_port))
            missed = server.answered - server.settled(server.counted) - missed
            most = max(most, missed / max(1, in_a_second))
    slowest = max(passed, default=0.0)
    print(
        f"killed: {kills} workers; at most {most:.2f} of what one of them had counted in its last "
        f"second was lost; the port passed on within {slowest:.2f} s"
    )
    return most <= 1.0 and slowest <= 2.0


def _calls_of(server: Server, pid: int, seconds: float) -> int:
    """Count the calls that one worker answers in a time; then ask no more."""
    calls, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        calls += 10 * (server.ask(10) == pid)
        time.sleep(0.001)
    return calls


def _until_answered(port: int) -> float:
    """Return the seconds until somebody listens again."""
    began = time.monotonic()
    waited(lambda: get(port, "/healthz"), every=0.01)
    return time.monotonic() - began


def _wait_for_workers(server: Server) -> list[dict[str, object]]:
    def look() -> list[dict[str, object]] | None:
        server.ask(10)
        workers: list[dict[str, object]] = _workers(server)
        return workers if len(workers) == WORKERS else None

    return waited(look)


def _workers(server: Server) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(get(server.json_port, "/metrics"))["workers"] or []
    return found


def scrape(scrapes: int = 25) -> bool:
    """Take the processor time of a scrape of 200 tools in four workers, and in a single one.

    It is that of the process that is asked, and that of all. Between two scrapes tools were called,
    equally often by the same clients: what four workers answer is what the single one answers
    alone. A quarter of the scrapes took less than is shown: other work disturbs them, and which
    worker takes how many of the calls differs each time. All windows are full.
    """
    rows: dict[tuple[str, str], dict[int, tuple[float, ...]]] = {}
    with ExitStack() as stack:
        servers = {}
        for workers in (1, WORKERS):
            server = stack.enter_context(gunicorn(workers=workers))
            clients = stack.enter_context(ThreadPoolExecutor(workers))
            _fill(server, clients, workers)
            servers[workers] = server, clients
        time.sleep(SETTLE_SECONDS)
        holders = {workers: _holder(server) for workers, (server, _) in servers.items()}
        for view in ("JSON", "Prometheus"):
            for told, (requests, tools) in _BETWEEN.items():
                took: dict[int, list[tuple[float, ...]]] = {workers: [] for workers in servers}
                for _ in range(scrapes):
                    # In turn, since other work on the machine comes and goes.
                    for workers, (server, clients) in servers.items():
                        [*clients.map(server.ask, [tools] * requests)]
                        took[workers].append(_scraped(server, view, holders[workers]))
                rows[view, told] = {
                    workers: tuple(map(_least_quarter, zip(*each[5:], strict=True)))
                    for workers, each in took.items()
                }
    for (view, told), row in rows.items():
        (one, one_wall, _), (asked, wall, everybody) = row[1], row[WORKERS]
        print(
            f"scrape: {view}, {told}: one worker {1e3 * one:.1f} ms of the processor "
            f"(answered in {1e3 * one_wall:.1f} ms); of {WORKERS} workers the one that is asked "
            f"{1e3 * asked:.1f} ms ({1e3 * wall:.1f} ms), all {1e3 * everybody:.1f} ms: "
            f"{asked / one:.2f} ×"
        )
    return True


def _scraped(server: Server, view: str, holder: int) -> tuple[float, ...]:
    """Return the processor time of who is asked, how long it takes, and that of all."""
    began = time.perf_counter()
    before = {pid: _processor_seconds(pid) for pid in server.pids}
    get(server.json_port if view == "JSON" else server.prometheus_port, "/metrics")
    wall = time.perf_counter() - began
    worked = {pid: _processor_seconds(pid) - before[pid] for pid in before}
    return worked[holder], wall, sum(worked.values())


def _least_quarter(values: tuple[float, ...]) -> float:
    """Return the first quartile."""
    return statistics.quantiles(values, n=4)[0]


def _fill(server: Server, clients: ThreadPoolExecutor, workers: int) -> None:
    """Have each worker answer so often that its windows are full.

    There are as many clients as workers: of one client's requests a worker of a busy machine may
    never get one.
    """

    def look() -> bool:
        for pid in clients.map(server.ask, [10_000] * workers):
            asked[pid] += 1
        return len(asked) >= workers and min(asked.values()) >= _FILLS

    asked: Counter[int] = Counter()
    waited(look, every=0.0)


def _holder(server: Server) -> int:
    """Return the id of the process that answers."""
    holds = [item for item in _workers(server) if item["state"] == "holds the port"]
    return int(str(holds[0]["pid"])) if holds else min(server.pids)


def _processor_seconds(pid: int) -> float:
    """Return what all threads of a process have taken, to the nanosecond (Linux)."""
    return time.clock_gettime(~pid << 3 | 2)


def _all_seconds(server: Server) -> float:
    """Return what all workers have taken that still run."""
    found = 0.0
    for pid in server.pids:
        with suppress(OSError):  # it has ended
            found += _processor_seconds(pid)
    return found


def multiprocess() -> bool:
    """Run the same server with `prometheus_client` in its multiprocess mode."""
    for meter in ("metertap", "prometheus_client"):
        with gunicorn("--max-requests", "40", METER=meter) as server:
            for _ in range(400):
                server.ask(2_000)
            time.sleep(SETTLE_SECONDS)
            port = server.prometheus_port if meter == "metertap" else server.port
            times, worked = [], []
            for _ in range(15):
                began, before = time.perf_counter(), _all_seconds(server)
                get(port, "/metrics")
                times.append(time.perf_counter() - began)
                worked.append(_all_seconds(server) - before)
            files = [path for path in server.folder.rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            print(
                f"multiprocess: {meter}: of the processor, a call "
                f"{1e6 * server.seconds / server.answered:.2f} µs, a scrape "
                f"{1e3 * statistics.median(worked):.0f} ms in all workers (answered in "
                f"{1e3 * statistics.median(times):.0f} ms), after {len(server.pids)} workers "
                f"{len(files)} files of {size / 1e6:.2f} MB"
            )
    return True


PARTS: dict[str, Callable[[int], bool]] = {
    "lost": lost,
    "killed": lambda _calls: killed(),
    "scrape": lambda _calls: scrape(),
    "multiprocess": lambda _calls: multiprocess(),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--calls", type=int, default=1_000_000)
    given = parser.parse_args()
    results = [PARTS[name](given.calls) for name in given.parts or PARTS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
