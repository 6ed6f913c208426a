"""`metertap snapshot`: the figures of running processes, as tables and as JSON."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import metertap
from kits.read_cache_kit import named
from metertap.cli import main
from metertap.runtime import running
from metertap.text import printable
from support import environments
from support.programs import METERTAP, ended, run, run_in_terminal, started
from support.waiting import wait_for

pytestmark = pytest.mark.programs

HOSTILE = "a\x1b[31m\x07 [bold]b[/bold]\nc\u202ed\ud800"
ESCAPED = r"a\x1b[31m\x07 [bold]b[/bold]\nc\u202ed?"


@pytest.fixture
def url() -> Iterator[str]:
    """Yield the address of this process, which has measured a little."""
    with metertap.instrument(service_name="shop") as tap:
        for latency in (1.5, 2.5):
            metertap.record_tool_call("search", True, latency)
        for _ in range(8):
            metertap.record_tool_call("order", False, 2000.0, "ValueError")
        metertap.record_tool_call("a_tool_with_quite_a_long_name", True, 12.0)
        prompts = metertap.cache_meter("prompts")
        prompts.hit()
        prompts.miss()
        address = wait_for(lambda: tap.json_url)
        wait_for(running.running)
        yield address


def test_the_table_has_a_row_for_each_tool_and_cache_slowest_first(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["snapshot", url]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    # The title has the version of the program that runs the tests, if it has one.
    assert re.fullmatch(rf"shop (\S+ )?{re.escape(url)} up \d+ s", title)
    assert [re.split(r"\s{2,}", line.strip()) for line in lines if line.strip()] == [
        ["tool", "calls", "ok %", "failed", "p50", "p95", "p99", "active", "errors"],
        ["order", "8", "0", "8", "2.00 s", "≈2.00 s", "≈2.00 s", "0", "ValueError 8"],
        ["search", "2", "100", "0", "2.00 ms", "≈2.50 ms", "≈2.50 ms", "0"],
        ["a_tool_with_quite_a_long_name", "1", "100", "0", "–", "–", "–", "0"],
        ["≈ an estimate, or of too few calls"],
        ["– a percentile needs two calls"],
        ["cache", "system", "lookups", "hits", "hit %", "evicted", "refused", "entries"],
        ["prompts", "manual", "2", "1", "50.0", "0", "0", "–"],
    ]


def test_no_figure_is_folded_in_a_terminal_of_any_width(url: str) -> None:
    for columns in (80, 20):
        shown = run_in_terminal(METERTAP, "snapshot", url, columns=columns).stdout.decode()
        assert "\x1b[" in shown  # a real terminal gets colours
        text = re.sub(r"\x1b\[[\d;]*m", "", shown)
        assert "2.00 s  ≈2.00 s  ≈2.00 s" in re.sub(r" {2,}", "  ", text)
        if columns == 80:
            assert max(map(len, text.splitlines())) <= 80


def test_a_width_that_only_looks_like_a_number_is_none(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.setenv(name, "²")
    shown = run_in_terminal(METERTAP, "snapshot", url, columns=200)
    assert (shown.status, shown.stderr) == (0, b"")
    assert b"a_tool_with_quite_a_long_name" in shown.stdout


def test_a_terminal_without_rich_gets_the_same_table(url: str, tmp_path: Path) -> None:
    core = environments.core(tmp_path / "core")
    shown = run_in_terminal(core, "-m", "metertap", "snapshot", url, columns=40).stdout
    piped = run(METERTAP, "snapshot", url).stdout
    assert shown.partition(b"\n")[2] == piped.partition(b"\n")[2]  # the title has the uptime


def test_json_is_the_document(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", url, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert main(["snapshot", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert one["tool_metrics"] == listed["tool_metrics"] == _tools()


def _tools() -> object:
    return metertap.get_all_metrics()["tool_metrics"]


def test_without_an_address_every_measured_process_of_the_user_is_shown() -> None:
    code = "import metertap; tap = metertap.instrument(); metertap.cache_meter('c').hit(); input()"
    with ExitStack() as stack:
        pids = []
        for name in ("first", "second"):
            env = {"OTEL_SERVICE_NAME": name}
            process = stack.enter_context(started([sys.executable, "-c", code], env=env))
            entry = Path(os.environ["XDG_RUNTIME_DIR"]) / "metertap" / f"{process.pid}.json"
            wait_for(entry.exists)
            pids.append(process.pid)
        shown = run(METERTAP, "snapshot").stdout.decode()
        titles = re.findall(r"^(\w+) .*pid (\d+) http://127.0.0.1:\d+ up", shown, re.M)
        assert titles == [("first", str(pids[0])), ("second", str(pids[1]))]
        assert ended(process, b"\n").status == 0
        assert "second" not in run(METERTAP, "snapshot").stdout.decode()


def test_workers_of_one_service_are_one_table(free_port: int) -> None:
    code = "import metertap; metertap.instrument(); metertap.cache_meter('c').hit(); input()"
    env = {"OTEL_SERVICE_NAME": "shop", "METRICS_JSON_PORT": str(free_port)}
    with ExitStack() as stack:
        pids = []
        for _ in range(2):
            process = stack.enter_context(started([sys.executable, "-c", code], env=env))
            entry = Path(os.environ["XDG_RUNTIME_DIR"]) / "metertap" / f"{process.pid}.json"
            wait_for(entry.exists)
            pids.append(process.pid)
        shown = run(METERTAP, "snapshot")
        assert (shown.status, shown.told) == (0, "")
        assert shown.stdout.decode().startswith(f"shop answered by pid {pids[0]} ")
        (document,) = json.loads(run(METERTAP, "snapshot", "--json").stdout)
        assert document["cache_metrics"]["c"]["hits"] == 2
        assert [item["pid"] for item in document["workers"]] == pids


def test_a_process_that_could_not_bind_its_port_is_named_with_the_reason(free_port: int) -> None:
    code = "import metertap; metertap.instrument(); metertap.cache_meter('c').hit(); input()"
    with ExitStack() as stack:
        pids = []
        for name in ("shop", "other"):
            env = {"OTEL_SERVICE_NAME": name, "METRICS_JSON_PORT": str(free_port)}
            process = stack.enter_context(started([sys.executable, "-c", code], env=env))
            entry = Path(os.environ["XDG_RUNTIME_DIR"]) / "metertap" / f"{process.pid}.json"
            wait_for(entry.exists)
            pids.append(process.pid)
        wait_for(lambda: "cannot be bound" in entry.read_text())  # it is waited for at first
        shown = run(METERTAP, "snapshot")
        assert shown.status == 0
        assert f"shop pid {pids[0]} " in shown.stdout.decode()
        assert f"other pid {pids[1]} is not shown: 127.0.0.1:{free_port} cannot" in shown.told
        assert run(METERTAP, "snapshot", "--json").told == shown.told


def test_nothing_that_is_measured_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot"]) == 1
    assert capsys.readouterr().err.endswith("no measured process of this user runs\n")


@pytest.mark.parametrize(
    ("seconds", "told"), [(301, "ended 5 min 1 s ago"), (0, "has ended")], ids=["known", "unknown"]
)
def test_that_the_last_process_ended_is_told_with_what_keeps_its_figures(
    seconds: float, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = running.directory().stat().st_mtime
    monkeypatch.setattr("metertap.runtime.running.time.time", lambda: changed + seconds)
    assert main(["snapshot"]) == 1
    assert capsys.readouterr().err.endswith(
        f"no measured process of this user runs: the last one {told}; "
        "METERTAP_HISTORY=FILE keeps figures\n"
    )


@pytest.mark.parametrize(
    "form", ["{port}", "127.0.0.1:{port}", "localhost:{port}/metrics", "{url}/"]
)
def test_an_address_may_be_short(form: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", form.format(url=url, port=url.rpartition(":")[2])]) == 0
    assert "search" in capsys.readouterr().out


@pytest.fixture(params=["no HTTP", "an error", "text", "a list", "another object", "half"])
def something_else(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the address of a service that is not metertap's."""
    answer = {
        "no HTTP": b"\x1b[31mNOT HTTP\r\n",
        "an error": b"HTTP/1.0 418 \x1b[31mteapot\r\n\r\n",
        "text": b"HTTP/1.0 200 OK\r\n\r\n# HELP up\nup 1\n",
        "a list": b"HTTP/1.0 200 OK\r\n\r\n[1, 2]",
        "another object": b'HTTP/1.0 200 OK\r\n\r\n{"status": "ok"}',
        "half": b'HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{"tool_metrics": ',
    }[request.param]

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.connection.recv(65536)
            self.wfile.write(answer)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("command", ["snapshot", "doctor"])
def test_another_service_is_one_line_on_stderr(
    command: str, something_else: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, something_else]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"metertap {command}: http://{something_else}/")
    assert err.count("\n") == 1
    assert "\x1b" not in err


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "http://[", "127.0.0.1:port", "file:///etc/passwd", ":", "a b"]
)
def test_an_address_where_nobody_answers_is_one_line_on_stderr(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["snapshot", "--json", address]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_names_cannot_act_on_the_terminal() -> None:
    with metertap.instrument(service_name=HOSTILE) as tap:
        metertap.record_tool_call(HOSTILE, False, 1.0, HOSTILE)
        metertap.cache_meter(HOSTILE).hit()
        url = wait_for(lambda: tap.json_url)
        for command in ("snapshot", "doctor"):
            piped = run(METERTAP, command, url)
            assert (piped.status, piped.stderr) == (0, b"")
            assert ESCAPED in piped.stdout.decode()
            terminal = run_in_terminal(METERTAP, command, url, columns=400).stdout.decode()
            assert ESCAPED in re.sub(r"\x1b\[[\d;]*m", "", terminal)
            assert "\x07" not in terminal
            assert "\u202e" not in terminal


def test_a_terminal_that_has_no_such_characters_gets_others(url: str) -> None:
    shown = run(METERTAP, "snapshot", url, env={"PYTHONIOENCODING": "ascii"})
    assert (shown.status, shown.stderr) == (0, b"")
    assert rb"\u2013" in shown.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_is_no_error(
    unbuffered: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        gone = subprocess.run([METERTAP, "snapshot", url], stdout=pipe, stderr=subprocess.PIPE)
    assert (gone.returncode, gone.stderr) == (0, b"")


def test_what_a_library_does_not_show_is_a_dash_and_no_word_of_python(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def looked_up(key: int) -> int:
        return key

    with metertap.instrument() as tap:
        price = functools.lru_cache(named(looked_up, "price", "shop"))
        price(1)
        metertap.record_tool_call("search", True, 0.004)
        metertap.record_tool_call("search", True, 0.004)
        assert main(["snapshot", wait_for(lambda: tap.json_url)]) == 0
    shown = capsys.readouterr().out
    assert "None" not in shown
    assert re.search(r"shop\.price +functools +1 +0 +0 +– +– +1$", shown, re.MULTILINE)
    assert "4.00 µs" in shown


def test_a_legend_is_there_where_its_sign_is(capsys: pytest.CaptureFixture[str]) -> None:
    with metertap.instrument() as tap:
        for _ in range(98):
            metertap.record_tool_call("search", True, 1.0)
        url = wait_for(lambda: tap.json_url)
        assert main(["snapshot", url]) == 0
        assert re.findall("≈.*", capsys.readouterr().out) == [
            "≈1.00 ms       0",
            "≈ an estimate, or of too few calls",
        ]
        assert (
            "≈ an estimate"
            in run_in_terminal(METERTAP, "snapshot", url, columns=80).stdout.decode()
        )
        metertap.record_tool_call("search", True, 1.0)
        assert main(["snapshot", url]) == 0
        assert "≈" not in capsys.readouterr().out


def test_no_character_that_reverses_or_hides_text_is_shown_as_it_is() -> None:
    marks = [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0xFEFF]
    for mark in map(chr, marks):
        assert printable(f"a{mark}b") == f"a\\u{ord(mark):04x}b"
