"""Processes that are measured and have nothing to show: `snapshot` names them and says why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metertap.cli import main
from metertap.runtime import running
from metertap.runtime.listing import NO_PAGE_YET
from support.programs import METERTAP, NO_LIBRARIES, RUN, run, started
from support.waiting import wait_for

pytestmark = pytest.mark.programs

IDLE = "print('ready', flush=True); input()"
STARTS_ANOTHER = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
{IDLE}
child.communicate()
"""
LATE = f"""
import functools
{IDLE}
import metertap
metertap.cache_meter("prices").hit()
input()
"""


def ready(process: object) -> None:
    assert process.stdout.readline() == b"ready\n"  # type: ignore[attr-defined]


def test_a_process_that_has_seen_nothing_is_named(tmp_path: Path) -> None:
    with started([*RUN, sys.executable, "-c", IDLE]) as process:
        ready(process)
        shown = run(METERTAP, "snapshot")
        told = f"pid {process.pid} is not shown: {NO_PAGE_YET}\n"
        assert shown.status == 1
        assert shown.stdout == b""
        assert shown.told.endswith(told)
        assert "--children" not in shown.told
        assert NO_PAGE_YET in run(METERTAP, "doctor", env=NO_LIBRARIES).told
    assert "no measured process" in run(METERTAP, "snapshot").told


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells children")
def test_where_others_may_do_the_work_the_option_for_them_is_named() -> None:
    with started([*RUN, sys.executable, "-c", STARTS_ANOTHER]) as process:
        ready(process)
        told = run(METERTAP, "snapshot").told
    assert "metertap run --children measures the programs that it starts" in told


def test_a_process_whose_endpoint_is_switched_off_is_named() -> None:
    env = {"METRICS_JSON_ENDPOINT_ENABLED": "false"}
    with started([*RUN, sys.executable, "-c", IDLE], env=env) as process:
        ready(process)
        told = run(METERTAP, "snapshot").told
    assert f"pid {process.pid} is not shown: its JSON endpoint is switched off" in told


def test_from_the_first_tool_or_cache_on_the_process_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with started([*RUN, sys.executable, "-c", LATE]) as process:
        ready(process)
        assert [item.pid for item, _ in running.unserved()] == [process.pid]
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        wait_for(lambda: running.running())
        wait_for(lambda: not running.unserved())
        assert main(["snapshot"]) == 0
    told = capsys.readouterr()
    assert "prices" in told.out
    assert told.err == ""


def test_a_process_that_has_ended_is_not_named() -> None:
    assert run(*RUN, sys.executable, "-c", "").told == ""
    assert running.unserved() == []
    with started([*RUN, sys.executable, "-c", IDLE]) as process:
        ready(process)
        process.kill()
        process.wait()
        assert running.unserved() == []
    assert not list(running.directory().iterdir())


def test_a_command_does_not_name_itself() -> None:
    assert "is not shown" not in run(METERTAP, "doctor", env=NO_LIBRARIES).told
    assert running.unserved() == []
