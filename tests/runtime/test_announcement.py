"""The line on stderr that says where the page is: once for a program, and never in its way."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from metertap.runtime import running
from metertap.settings import program
from servers.real_servers import free_port
from support.programs import started
from support.waiting import wait_for

pytestmark = pytest.mark.programs

LINE = re.compile(r"metertap: (http://127\.0\.0\.1:\d+)/ shows the tools and caches")

SHOWN = """
import sys, threading, time, urllib.request
def shown():
    # Record a call, and wait until whatever tells the address has done so.
    import metertap
    tap = metertap.instrument()
    metertap.record_tool_call("search", True, 1.0)
    while not tap.json_url: time.sleep(0.01)
    urllib.request.urlopen(tap.json_url + "/healthz").read()
    for thread in threading.enumerate():
        if thread.name == "metertap-announcement": thread.join()
    return tap.json_url
"""
ONE = """
import metertap
{before}
metertap.instrument()
address = shown()
{after}
"""


def run(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = folder / "shop.py"
    script.write_text(SHOWN + textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "METERTAP_ANNOUNCE": "", **environment},
    )


def addresses(done: subprocess.CompletedProcess[str]) -> list[str]:
    return LINE.findall(done.stderr)


def test_the_first_tool_brings_one_line_on_stderr_and_nothing_on_stdout(tmp_path: Path) -> None:
    done = run(ONE.format(before="", after="shown(); print(address)"), tmp_path)
    assert addresses(done) == [done.stdout.strip()]
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 130


def test_nothing_is_told_before_something_can_be_seen(tmp_path: Path) -> None:
    code = "import metertap\ntap = metertap.instrument(json_port=0)\ntap.snapshot()"
    assert run(code, tmp_path).stderr == ""


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        ("", {"METERTAP_ANNOUNCE": "false"}),
        ("import logging; logging.basicConfig(level='INFO')", {"METERTAP_ANNOUNCE": "false"}),
        ("", {"METRICS_JSON_ENDPOINT_ENABLED": "false"}),
        ("sys.stderr = None", {}),
    ],
    ids=["by the setting", "by the setting, in a log", "no endpoint", "no stderr"],
)
def test_nothing_is_told(before: str, environment: dict[str, str], tmp_path: Path) -> None:
    code = ONE.format(before=before, after="")
    if "METRICS_JSON_ENDPOINT_ENABLED" in environment:
        code = "import metertap\nmetertap.instrument()\nmetertap.record_tool_call('search', True)"
    done = run(code, tmp_path, **environment)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_command_given_to_python_tells_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOWN + "shown()"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "METERTAP_ANNOUNCE": ""},
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_log_that_shows_the_address_has_no_second_line(tmp_path: Path) -> None:
    before = "import logging; logging.basicConfig(level='INFO', stream=sys.stdout)"
    done = run(ONE.format(before=before, after=""), tmp_path)
    assert done.stderr == ""


def test_a_log_that_is_set_up_too_late_to_show_the_address_hides_no_line(tmp_path: Path) -> None:
    code = """
        import logging, metertap, sys
        metertap.instrument()
        while not metertap.instrument().json_url: time.sleep(0.01)
        urllib.request.urlopen(metertap.instrument().json_url + "/healthz").read()
        logging.basicConfig(level="INFO", stream=sys.stdout)
        print(shown())
    """
    done = run(code, tmp_path, METRICS_JSON_PORT=str(free_port()))
    assert addresses(done) == [done.stdout.splitlines()[-1]]


def test_whoever_replaced_stderr_gets_the_line(tmp_path: Path) -> None:
    before = "import io; sys.stderr = io.StringIO()"
    done = run(ONE.format(before=before, after="print(sys.stderr.getvalue())"), tmp_path)
    assert done.stderr == ""
    assert LINE.match(done.stdout)


WORKERS = {
    "fork": """
        import os, metertap
        metertap.instrument()
        pids = []
        for _ in range(3):
            pid = os.fork()
            if not pid:
                shown()
                os._exit(0)
            pids.append(pid)
        for pid in pids: os.waitpid(pid, 0)
    """,
    "fork, each instrumented by itself": """
        import os
        pids = []
        for _ in range(3):
            pid = os.fork()
            if not pid:
                shown()
                os._exit(0)
            pids.append(pid)
        for pid in pids: os.waitpid(pid, 0)
    """,
    "spawn": """
        import multiprocessing
        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            workers = [context.Process(target=shown) for _ in range(2)]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
    """,
    "the same command again, as reloaders start it": """
        import os, subprocess
        if "WORKER" in os.environ:
            shown()
        else:
            again = [sys.executable, *sys.argv]
            for _ in range(2):
                subprocess.run(again, env={**os.environ, "WORKER": "1"}, check=True)
    """,
}


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux tells parents")
@pytest.mark.parametrize("kind", WORKERS)
def test_the_workers_of_a_program_tell_it_once(kind: str, tmp_path: Path) -> None:
    assert len(addresses(run(WORKERS[kind], tmp_path))) == 1


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux tells parents")
def test_workers_that_take_turns_at_one_port_tell_it_once(tmp_path: Path) -> None:
    port = str(free_port())
    done = run(WORKERS["fork, each instrumented by itself"], tmp_path, METRICS_JSON_PORT=port)
    assert len(addresses(done)) == done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux tells parents")
def test_a_second_copy_of_a_program_says_which_process_it_joined(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(
        "import sys, metertap\nmetertap.instrument()\n"
        "metertap.record_tool_call('search', True, 1.0)\nsys.stdin.read()\n"
    )
    env = {"METERTAP_ANNOUNCE": "", "METRICS_JSON_PORT": str(free_port())}

    @contextlib.contextmanager
    def copy(name: str) -> Iterator[tuple[int, str]]:
        log = tmp_path / name
        with (
            log.open("w") as file,
            started([sys.executable, str(script)], env=env, stderr=file) as process,
        ):
            wait_for(lambda: log.read_text().endswith("\n"))
            yield process.pid, log.read_text()
            process.communicate(timeout=60)
            assert log.read_text().count("\n") == 1

    with copy("first") as (pid, first), copy("second") as (_, second):
        (address,) = LINE.findall(first)
        assert second == (
            f"metertap: {address}/ shows this process together with process {pid}, as workers of "
            "shop (OTEL_SERVICE_NAME=NAME tells them apart; METERTAP_ANNOUNCE=false hides this "
            "line)\n"
        )


def test_a_notebook_that_begins_again_at_the_same_address_tells_it_once(tmp_path: Path) -> None:
    port = free_port()
    begin = f"metertap.instrument(json_port={port})\nprint(shown())\n"
    done = run(f"import metertap\n{begin}metertap.uninstrument()\n{begin}", tmp_path)
    assert done.stdout.split() == addresses(done) * 2


def test_two_programs_tell_it_each(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert len(addresses(run(ONE.format(before="", after=""), tmp_path / name))) == 1


def test_a_program_that_runs_again_tells_it_again(tmp_path: Path) -> None:
    code = ONE.format(before="", after="import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    for _ in range(2):
        script = tmp_path / "shop.py"
        script.write_text(SHOWN + code)
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "METERTAP_ANNOUNCE": "true"},
        )
        assert len(addresses(done)) == 1


def test_what_a_dead_process_left_is_removed() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert running.is_first_to_tell(ended.pid)
    assert not running.is_first_to_tell(ended.pid)
    ended.wait()
    (left,) = running.directory().glob("*.told")
    os.utime(left, (0, 0))
    running.running()
    assert not list(running.directory().iterdir())


def test_a_process_whose_command_is_a_title_is_not_known_to_be_started_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["gunicorn", "shop:app"])
    assert program.first_process() == os.getpid()
    assert not program.is_started_for_itself()


def test_this_process_is_the_first_of_its_program() -> None:
    code = (
        "from metertap.settings import program; import os; "
        "print(program.first_process() == os.getpid())"
    )
    shell = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{code}"; exit 0'],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert shell.stdout == "True\n"
    assert program.first_process() > 0
