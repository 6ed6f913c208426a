"""The hint at the end of `metertap run` where other programs than the measured one do the work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.programs import METERTAP, RUN, run

pytestmark = pytest.mark.programs

# However fast the machine is: a hint is given from 0.05 seconds of a processor on.
WORK = "sum(1 for _ in iter(lambda: __import__('time').process_time() > 0.2, True))"
STARTS = f"""
import subprocess, sys
print(subprocess.run([sys.executable, "-c", {WORK!r}]).returncode)
"""
SPAWNS = f"""
import multiprocessing
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    with multiprocessing.Pool(1) as pool:
        print(pool.apply(eval, [{WORK!r}]) and 0)
"""
FORKS = f"""
import os
pid = os.fork()
{WORK}
if pid:
    os.waitpid(pid, 0)
    print(0)
"""
CALLS = f"import metertap; metertap.record_tool_call('search', True)\n{STARTS}"
CACHES = f"""
import functools
@functools.lru_cache
def price(item): return item
price(1)
{STARTS}
"""
IDLE = "import subprocess; print(subprocess.run(['true']).returncode)"


@pytest.mark.parametrize(
    ("program", "is_told"),
    [(STARTS, True), (SPAWNS, True), (CACHES, True), (FORKS, False), (CALLS, False), (IDLE, False)],
    ids=["starts a Python", "spawns", "has a cache", "forks", "calls a tool", "starts little"],
)
def test_a_program_whose_work_others_do_is_told_of_the_option(
    program: str, is_told: bool, tmp_path: Path
) -> None:
    file = tmp_path / "shop.py"
    file.write_text(program)
    env = {"METERTAP_ANNOUNCE": None}
    done = run(*RUN, sys.executable, str(file), env=env)
    assert (done.status, done.stdout) == (0, b"0\n")
    assert done.told.count("metertap run --children measures") == is_told


def test_of_kernels_of_notebooks_it_is_told_at_the_start(tmp_path: Path) -> None:
    jupyter = tmp_path / "jupyter"  # as it is: another program takes its place
    jupyter.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "os.execv(sys.executable, [sys.executable, '-c', 'print(0)'])\n"
    )
    jupyter.chmod(0o755)
    done = run(*RUN, str(jupyter), "nbconvert")
    assert (done.status, done.stdout) == (0, b"0\n")
    assert done.told.count("metertap run --children measures") == 1
    done = run(METERTAP, "run", "--children", "--", str(jupyter), "nbconvert")
    assert (done.status, done.stdout, done.stderr) == (0, b"0\n", b"")


def test_the_hint_is_not_given_where_it_is_switched_off_or_followed(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(STARTS)
    for command, env in (
        (RUN, {"METERTAP_ANNOUNCE": "false"}),
        ((METERTAP, "run", "--children", "--"), {"METERTAP_ANNOUNCE": None}),
    ):
        quiet = run(*command, sys.executable, str(file), env=env)
        assert (quiet.status, quiet.stdout) == (0, b"0\n")
        assert "--children" not in quiet.told
