"""Workers of real servers are one server to whoever looks: nothing is lost and nothing doubled."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.ports import free_port
from support.programs import started
from support.waiting import stop, wait_for

pytestmark = pytest.mark.programs

PROGRAM = Path(__file__).parent / "programs" / "shop.py"
BESIDE = Path(sys.executable).parent


@dataclass
class Shop:
    """A running server, and how many requests it has answered."""

    process: subprocess.Popen[bytes]
    port: int
    json_port: int
    prometheus_port: int
    answered: int = 0
    pids: set[int] = field(default_factory=set)

    def ask(self, times: int) -> None:
        """Send requests one after the other; whatever is not answered is sent again."""
        until = self.answered + times
        while self.answered < until:
            with suppress(OSError):
                url = f"http://127.0.0.1:{self.port}/?{self.answered}"
                with urllib.request.urlopen(url, timeout=60) as answer:
                    self.pids.add(int(answer.read()))
                    self.answered += 1

    def document(self, query: str = "") -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.json_port}/metrics{query}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def answer(self, query: str = "") -> dict[str, Any] | None:
        """The document; None while nobody listens, or nothing is known of a worker."""
        with suppress(OSError):
            return self.document(query)
        return None

    def counted(self) -> int:
        """Calls that the document has; 0 while there is none."""
        document = self.answer() or {"tool_metrics": {}}
        tool = document["tool_metrics"].get("search")
        return 0 if tool is None else int(tool["total_calls"])

    def samples(self, name: str, query: str = "") -> list[tuple[str, float]]:
        url = f"http://127.0.0.1:{self.prometheus_port}/metrics{query}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        found = (line.rpartition(" ") for line in lines if line.startswith(name + "{"))
        return [(labels, float(value)) for labels, _, value in found]

    def holder(self) -> int:
        (pid,) = (item["pid"] for item in self.workers() if item["state"] == "holds the port")
        return int(pid)

    def whole(self) -> dict[str, Any] | None:
        """The document, once three workers are in it with what they know now."""
        answer = self.answer() or {}
        states = sorted(item["state"] for item in answer.get("workers") or [])
        return answer if states == ["holds the port", "reached", "reached"] else None

    def workers(self) -> list[dict[str, Any]]:
        return (self.answer() or {}).get("workers") or []


@contextmanager
def shop(folder: Path, *command: str, program: Path = PROGRAM, **variables: str) -> Iterator[Shop]:
    port, json_port, prometheus_port = (free_port() for _ in range(3))
    shutil.copy(program, folder / "shop.py")
    env = {
        "METRICS_JSON_PORT": str(json_port),
        "PROMETHEUS_ENABLED": "true",
        "PROMETHEUS_PORT": str(prometheus_port),
        **variables,
    }
    line = [str(BESIDE / command[0]), *(item.format(port=port) for item in command[1:])]
    log = folder / "log"
    with log.open("wb") as stderr, started(line, env=env, cwd=folder, stderr=stderr) as process:
        found = Shop(process, port, json_port, prometheus_port)
        try:
            wait_for(lambda: _listens(port), 60)
            yield found
            process.terminate()
            process.wait(60)
        finally:
            sys.stderr.write(log.read_text())
    told = log.read_text()
    assert "in use" not in told
    assert "not served" not in told
    assert told.count("metertap: a fault") == 0
    assert "Traceback" not in told


def _listens(port: int) -> bool:
    """Send a request; return False where nobody listens.

    Where somebody does, it is waited for: a request that is given up is answered later, and counts.
    """
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/?0", timeout=300).close()
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return False
        raise
    return True


def test_gunicorns_workers_show_one_true_table_and_go_on_without_one(tmp_path: Path) -> None:
    # No worker that a busy machine keeps waiting is replaced by another one.
    command = ("gunicorn", "-b", "127.0.0.1:{port}", "-w", "3", "--timeout", "0", "shop:app")
    with shop(tmp_path, *command) as server:
        server.answered = 1  # by which it was seen to listen
        while len(server.pids) < 3:
            server.ask(10)
        document = wait_for(server.whole)
        (tool,) = document["tool_metrics"].values()
        assert tool["total_calls"] == server.answered == tool["window_samples"]
        assert document["cache_metrics"]["prices"]["total_requests"] == server.answered
        assert document["cache_metrics"]["prices"]["by_tool"]["search"]["hits"] > 0
        assert document["ended_workers"] == 0
        workers = document["workers"]
        assert {item["pid"] for item in workers} == server.pids
        assert sorted(item["state"] for item in workers) == ["holds the port", "reached", "reached"]
        assert len({item["instance"] for item in workers}) == 3

        # Each apart adds up to all.
        apart = [server.document(f"?worker={pid}") for pid in server.pids]
        assert sum(item["tool_metrics"]["search"]["total_calls"] for item in apart) == (
            server.answered
        )
        assert {item["service"]["instance_id"] for item in apart} == {
            item["instance"] for item in workers
        }
        with pytest.raises(urllib.error.HTTPError, match="404"):
            server.document("?worker=1")

        # The same in Prometheus.
        name = "gen_ai_execute_tool_duration_seconds_count"
        wait_for(lambda: [value for _, value in server.samples(name)] == [server.answered])
        each = server.samples(name, "?worker=each")
        assert sum(value for _, value in each) == server.answered
        named = re.findall(r'worker="(\d+)"', " ".join(labels for labels, _ in each))
        assert {int(pid) for pid in named} == server.pids
        summary = "metertap_tool_latency_seconds_count"
        assert [value for _, value in server.samples(summary)] == [server.answered]
        hits = server.samples("cache_requests_total")
        assert sum(value for _, value in hits) == server.answered

        # One that does not answer is named, and what is known of it counts.
        holder = server.holder()
        stopped = next(pid for pid in server.pids if pid != holder)
        try:
            stop(stopped)
            began = time.monotonic()
            document = server.document()
            spent = time.monotonic() - began
            states = {item["pid"]: item for item in document["workers"]}
            assert states[stopped]["state"] == "not reached"
            assert "no answer within" in states[stopped]["reason"]
            assert document["tool_metrics"]["search"]["total_calls"] == server.answered
            assert spent < 20  # 0.3 s where nothing else runs
        finally:
            os.kill(stopped, signal.SIGCONT)

        # The holder is killed: another takes its place, and nothing that was shown is taken back.
        os.kill(holder, signal.SIGKILL)
        # Until its last thread is gone it is there, and named as one that is not reached.
        ended = 0
        while not ended:
            document = wait_for(server.answer)
            assert document["tool_metrics"]["search"]["total_calls"] == server.answered
            ended = document["ended_workers"]
        assert ended == 1
        assert [value for _, value in wait_for(lambda: _samples(server, name))] == [server.answered]


def _samples(server: Shop, name: str) -> list[tuple[str, float]]:
    with suppress(OSError):
        return server.samples(name)
    return []


def test_no_call_is_lost_or_counted_twice_when_workers_are_recycled_and_reloaded(
    tmp_path: Path,
) -> None:
    with shop(
        tmp_path,
        *("gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "--preload"),
        *("--max-requests", "25", "shop:app"),
        WARMED_BY="7",  # in gunicorn's master, which serves nothing
    ) as server:
        server.answered = 1 + 7
        shown = 0
        for turn in range(6):
            server.ask(20)
            if turn == 3:
                server.process.send_signal(signal.SIGHUP)
            now = server.counted()
            assert now >= shown or now == 0  # nobody listens while the port passes on
            shown = max(shown, now)
        wait_for(lambda: server.counted() == server.answered)
        name = "gen_ai_execute_tool_duration_seconds_count"
        found = wait_for(lambda: _samples(server, name))
        assert [value for _, value in found] == [server.answered]
        assert server.document()["ended_workers"] >= 2
        assert len(server.pids) >= 4


def mounted_counts(server: Shop) -> set[float]:
    """How many calls the mounted views of one worker or another have, asked ten times."""
    address, counts = f"http://127.0.0.1:{server.port}/meter", set()
    for _ in range(10):
        with urllib.request.urlopen(f"{address}/metrics", timeout=20) as answer:
            counts.add(float(json.load(answer)["tool_metrics"]["search"]["total_calls"]))
        with urllib.request.urlopen(f"{address}/prometheus", timeout=20) as answer:
            text = answer.read().decode()
        for name in ("gen_ai_execute_tool_duration_seconds", "metertap_tool_latency_seconds"):
            (found,) = re.findall(rf"^{name}_count{{.*}} (\S+)$", text, re.MULTILINE)
            counts.add(float(found))
    return counts


@pytest.mark.parametrize("options", [("--preload",), ()], ids=["preload", "each by itself"])
@pytest.mark.parametrize("endpoints", ["true", "false"])
def test_whichever_worker_serves_the_mounted_views_shows_all(
    endpoints: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    command = ("gunicorn", "-b", "127.0.0.1:{port}", "-w", "3", *options, "shop:app")
    variables = {"METRICS_JSON_ENDPOINT_ENABLED": endpoints, "PROMETHEUS_ENABLED": endpoints}
    program = PROGRAM.with_name("mounted.py")
    with shop(tmp_path, *command, program=program, **variables) as server:
        server.answered = 1
        while len(server.pids) < 3:
            server.ask(10)
        wait_for(lambda: mounted_counts(server) == {server.answered})
        server.ask(10)
        # On a busy machine a worker may not answer in time: it is shown as it was, and named.
        wait_for(lambda: mounted_counts(server) == {server.answered})

        # What a worker has shown stays when it is killed, and when another takes its place.
        os.kill(min(server.pids), signal.SIGKILL)
        before = set(server.pids)
        while server.pids == before:
            server.ask(5)
        wait_for(lambda: mounted_counts(server) == {server.answered})


@pytest.mark.parametrize("how", ["workers", "reload"])
def test_uvicorns_workers_are_one_server(how: str, tmp_path: Path) -> None:
    options = ("--workers", "2") if how == "workers" else ("--reload", "--reload-delay", "0.1")
    command = ("uvicorn", "shop:asgi", "--port", "{port}", "--log-level", "warning", *options)
    with shop(tmp_path, *command) as server:
        server.answered = 1
        server.ask(5)
        if how == "workers":
            while len(server.pids) < 2:
                server.ask(5)
            wait_for(lambda: len(server.workers()) == 2)
            os.kill(next(iter(server.pids)), signal.SIGTERM)
        else:
            text = (tmp_path / "shop.py").read_text()
            (tmp_path / "shop.py").write_text(text + "\n# Changed.\n")
        before = set(server.pids)

        def has_followed() -> bool:
            server.ask(1)
            return bool(server.pids - before)

        wait_for(has_followed, 60)
        wait_for(lambda: server.counted() == server.answered)
        assert server.document()["ended_workers"] == 1


@pytest.mark.parametrize(
    "command",
    [
        ("hypercorn", "shop:asgi", "--bind", "127.0.0.1:{port}", "--workers", "2"),
        ("granian", "shop:asgi", "--port", "{port}", "--workers", "2", "--interface", "asgi"),
    ],
    ids=["hypercorn", "granian"],
)
def test_workers_of_other_servers_are_one_server(command: tuple[str, ...], tmp_path: Path) -> None:
    with shop(tmp_path, *command) as server:
        server.answered = 1
        while len(server.pids) < 2:
            server.ask(5)
        wait_for(lambda: {item["pid"] for item in server.workers()} == server.pids)
        wait_for(lambda: server.counted() == server.answered)


def test_servers_on_stdio_of_several_clients_are_one_server(tmp_path: Path) -> None:
    env = {"METRICS_JSON_PORT": str(free_port())}
    shutil.copy(PROGRAM, tmp_path / "shop.py")
    command = [sys.executable, str(tmp_path / "shop.py")]
    with ExitStack() as stack:
        servers = [stack.enter_context(started(command, env=env, cwd=tmp_path)) for _ in range(3)]
        pids = {_told(server, calls=number + 1) for number, server in enumerate(servers)}
        server = Shop(servers[0], 0, int(env["METRICS_JSON_PORT"]), 0)
        wait_for(lambda: {item["pid"] for item in server.workers()} == pids)
        wait_for(lambda: server.counted() == 6)
        # The client of the one that holds the port ends: another takes it, and no call is lost.
        holder = next(each for each in servers if each.pid == server.holder())
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(60)
        holder.stdin = None
        wait_for(lambda: {item["pid"] for item in server.workers()} == pids - {holder.pid})
        wait_for(lambda: server.counted() == 6)


def _told(server: subprocess.Popen[bytes], calls: int) -> int:
    """Have a server on stdio make calls; return its process id."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(b"1\n" * calls)
    server.stdin.flush()
    return int([server.stdout.readline() for _ in range(calls)][-1])
