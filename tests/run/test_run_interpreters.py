"""Which Python `metertap run` starts: with metertap, without it, or one that takes no hints."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from metertap.run.environment import add_hook
from support import environments
from support.programs import RUN, executable, run

pytestmark = [pytest.mark.interpreter, pytest.mark.programs]

PYTHON = sys.executable
UNMEASURED = "metertap: the program runs unmeasured, because "
IS_MEASURED = "import sys; print('metertap' in sys.modules)"


def test_a_python_without_metertap_runs_the_program_and_says_so_once(tmp_path: Path) -> None:
    bare = environments.bare(tmp_path / "bare")
    measured = run(*RUN, bare, "-c", IS_MEASURED, "argument")
    assert (measured.status, measured.stdout) == (0, b"False\n")
    assert measured.told.startswith(UNMEASURED)
    assert f"because {bare} cannot import metertap" in measured.told
    assert "pip install" not in measured.told
    assert measured.told.count("\n") == 1


def test_whoever_names_python_without_a_path_is_told_of_the_one_that_has_metertap(
    tmp_path: Path,
) -> None:
    bare = Path(environments.bare(tmp_path / "bare"))
    code = "import os; print([name for name in os.environ if 'METERTAP_RUN' in name])"
    env = {"PATH": f"{bare.parent}:/usr/bin:/bin"}
    # pip makes a script that calls its Python `python3`.
    hint = f", or name a Python that has it: metertap run -- {Path(PYTHON).parent}/python"
    for name, is_told in (("python", True), (str(bare), False)):
        measured = run(*RUN, name, "-c", code, env=env)
        assert measured.stdout == b"[]\n"
        assert (hint in measured.told) is is_told


def test_a_python_with_nothing_but_the_core_is_measured(tmp_path: Path) -> None:
    core = environments.core(tmp_path / "core")
    code = "import importlib.util; print(importlib.util.find_spec('mcp'))\n" + IS_MEASURED
    measured = run(*RUN, core, "-c", code)
    assert (measured.stdout, measured.stderr) == (b"None\nTrue\n", b"")


@pytest.mark.parametrize(
    "flags",
    [["-I"], ["-E"], ["-uS"], ["-W", "ignore", "-X", "dev", "-Es"]],
    ids=" ".join,
)
def test_a_python_that_ignores_the_environment_is_told(flags: list[str]) -> None:
    path = "import os; print(os.environ.get('PYTHONPATH'))\n"  # by which its children are measured
    measured = run(*RUN, PYTHON, *flags, "-c", path + IS_MEASURED, env={"PYTHONPATH": None})
    assert (measured.status, measured.stdout) == (0, b"None\nFalse\n")
    assert measured.told.startswith(UNMEASURED)
    assert measured.told.count("\n") == 1


@pytest.mark.parametrize(
    "head",
    [
        f"#!{PYTHON} -E\n",
        f"#!/usr/bin/env -S {PYTHON} -s -I\n",
        f"""#!/bin/sh\n'''exec' "{PYTHON}" -sE "$0" "$@"\n' '''\n""",
    ],
    ids=["direct", "env", "shell"],
)
def test_a_script_whose_python_ignores_the_environment_is_told(head: str, tmp_path: Path) -> None:
    script = executable(tmp_path / "script", head + IS_MEASURED + "\n")
    measured = run(*RUN, str(script))
    assert (measured.status, measured.stdout) == (0, b"False\n")
    assert measured.told.startswith(UNMEASURED)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", IS_MEASURED, "-I"],
        ["-Wignore", "-c", IS_MEASURED],
        ["-X", "pycache_prefix=-E", "-c", IS_MEASURED],
        ["-m", "Simple", "-E"],
        ["-mSimple"],
    ],
    ids=" ".join,
)
def test_letters_that_are_no_such_flags_are_not_told(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "Simple.py").write_text(IS_MEASURED)
    measured = run(*RUN, PYTHON, *arguments, cwd=tmp_path)
    assert (measured.stdout, measured.stderr) == (b"True\n", b"")


@pytest.mark.parametrize("ends", ["pass", "import missing_here", "1 / 0"])
def test_the_sitecustomize_of_the_environment_runs_as_without(ends: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.ran = True; {ends}\n")
    code = """
import sys
print(getattr(sys, "ran", None), getattr(sys.modules.get("sitecustomize"), "__file__", None))
"""
    env = {"PYTHONPATH": str(tmp_path)}
    # A bare `metertap run` is itself a Python that runs it; its complaint comes first.
    without = run(PYTHON, "-c", code, env=env)
    measured = run(*RUN, PYTHON, "-c", code + IS_MEASURED, env=env)
    assert measured.stdout == without.stdout + b"True\n"
    assert measured.stderr == 2 * without.stderr


NEXT_INSIDE = """
import importlib.machinery, os, sys
sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
found = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if found is not None:
    found.loader.load_module("sitecustomize")
sys.ran = True
"""
NEXT_APART = """
import importlib.machinery, importlib.util, os, sys
sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
found = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if found is not None:
    found.loader.exec_module(importlib.util.module_from_spec(found))
sys.ran = True
"""
NEXT_ON_PATH = """
import importlib.machinery, os, sys
here = os.path.dirname(os.path.abspath(__file__))
others = [entry for entry in sys.path if entry != here]
found = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
if found is not None:
    found.loader.load_module("sitecustomize")
sys.ran = getattr(sys, "ran", 0) + 1
"""


@pytest.mark.parametrize("following", [False, True], ids=["last", "before another"])
@pytest.mark.parametrize(
    "tracer", [NEXT_INSIDE, NEXT_APART, NEXT_ON_PATH], ids=["inside", "apart", "on path"]
)
def test_a_sitecustomize_that_executes_the_next_one_runs_to_its_end(
    tracer: str, following: bool, tmp_path: Path
) -> None:
    first, last = tmp_path / "tracer", tmp_path / "last"
    first.mkdir()
    last.mkdir()
    (first / "sitecustomize.py").write_text(tracer)
    if following:
        (last / "sitecustomize.py").write_text("import sys; sys.ran_last = True\n")
    code = """
import sys
print(getattr(sys, "ran", None), getattr(sys, "ran_last", None), "sitecustomize" in sys.modules)
"""
    hooked: dict[str, str] = {"PYTHONPATH": str(last)}
    add_hook(hooked)
    without = run(PYTHON, "-c", code, env={"PYTHONPATH": os.pathsep.join([str(first), str(last)])})
    env = {"PYTHONPATH": os.pathsep.join([str(first), hooked["PYTHONPATH"]])}
    measured = run(PYTHON, "-c", code + IS_MEASURED, env=env)
    assert measured.stdout == without.stdout + b"True\n"
    assert measured.stderr == without.stderr


def test_modules_beside_the_program_go_before_those_that_metertap_imported(tmp_path: Path) -> None:
    for name in ("statistics", "wsgiref", "uuid"):
        (tmp_path / f"{name}.py").write_text("MINE = True\n")
    (tmp_path / "http").mkdir()  # not a package: Python passes over it
    program = tmp_path / "program.py"
    program.write_text(
        "import http.client, statistics, uuid, wsgiref\n"
        "print(statistics.MINE, uuid.MINE, wsgiref.MINE)\n"
        "import metertap\n"
        "metertap.record_tool_call('search', True, 1.0)\n"
        "metertap.record_tool_call('search', True, 2.0)\n"
        "print(metertap.get_all_metrics()['tool_metrics']['search']['p50_latency_ms'])\n"
    )
    for command in ([str(program)], ["-m", "program"]):
        measured = run(*RUN, PYTHON, *command, cwd=tmp_path)
        assert (measured.stdout, measured.stderr) == (b"True True True\n1.5\n", b"")


def test_a_program_that_runs_no_python_is_told_once(tmp_path: Path) -> None:
    node = executable(tmp_path / "node", "#!/bin/sh\necho answer\n")
    script = executable(tmp_path / "server", f"#!{node} --flag\n")
    other = executable(tmp_path / "other", "#!/bin/sh\necho answer\n")
    for program in (node, script):
        measured = run(*RUN, str(program))
        assert measured.told.startswith("metertap: only Python is measured")
        assert measured.told.count("\n") == 1
    assert run(*RUN, str(other)).stderr == b""  # a shell often starts a Python
