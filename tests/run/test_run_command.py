"""`metertap run` in front of a command changes nothing that its program can see."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from support.programs import PROGRAMS, RUN, Ended, executable, run

pytestmark = [pytest.mark.interpreter, pytest.mark.programs]

WITNESS = PROGRAMS / "witness.py"
PYTHON = sys.executable


def _console_script(folder: Path) -> list[str]:
    """As installers write it for an entry point, found on PATH."""
    executable(folder / "bin" / "shop", f"#!{PYTHON}\n{WITNESS.read_text()}")
    return ["shop", "an argument"]


def _long_console_script(folder: Path) -> list[str]:
    """As they write it where the path of Python is too long for a `#!` line."""
    trick = f"""#!/bin/sh\n'''exec' '{PYTHON}' "$0" "$@"\n' '''\n"""
    executable(folder / "bin" / "shop", trick + WITNESS.read_text())
    return ["shop", "an argument"]


def _relative_script(folder: Path) -> list[str]:
    executable(folder / "shop", f"#!/usr/bin/env {PYTHON}\n{WITNESS.read_text()}")
    return ["./shop"]


def _file(_folder: Path) -> list[str]:
    return [PYTHON, str(WITNESS), "--version", "--", "an argument"]


def _module(folder: Path) -> list[str]:
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "__main__.py").write_text(WITNESS.read_text())
    return [PYTHON, "-m", "shop", "-c"]


def _code(_folder: Path) -> list[str]:
    return [PYTHON, "-u", "-W", "error", "-c", WITNESS.read_text(), "-E"]


def _wrapper(folder: Path) -> list[str]:
    """A launcher, like `uv run`, which sets the environment up and becomes Python."""
    executable(folder / "bin" / "launch", '#!/bin/sh\nLAUNCHED=yes exec "$@"\n')
    return ["launch", *_file(folder)]


SHAPES = [
    _console_script,
    _long_console_script,
    _relative_script,
    _file,
    _module,
    _code,
    _wrapper,
]


def _seen(ended: Ended) -> dict[str, Any]:
    assert ended.status == 0, ended.told
    seen: dict[str, Any] = json.loads(ended.stdout)
    assert seen.pop("pid") == ended.pid  # it replaced `metertap run`
    return seen


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__.strip("_"))
def test_a_measured_program_sees_what_it_sees_without(shape: Any, tmp_path: Path) -> None:
    command = shape(tmp_path)
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": None}
    without = run(*command, given=b"some input\n", env=env, cwd=tmp_path)
    measured = run(*RUN, *command, given=b"some input\n", env=env, cwd=tmp_path)
    expected = {**_seen(without), "measured": True}
    assert _seen(measured) == expected
    assert measured.stderr == without.stderr


@pytest.mark.parametrize("inherited", ["", "/first::/second", ":", "/one"])
def test_pythonpath_is_what_it_was(inherited: str) -> None:
    code = "import os, sys; print([os.environ['PYTHONPATH'], sys.path])"
    env = {"PYTHONPATH": inherited}
    assert run(*RUN, PYTHON, "-c", code, env=env) == run(PYTHON, "-c", code, env=env)


def test_the_c_locale_means_the_same_to_the_program() -> None:
    # Python itself sets LC_CTYPE there; the program's Python must not take that for a setting.
    code = "import os, sys; print(sys.flags.utf8_mode, os.environ.get('LC_CTYPE'))"
    env = dict.fromkeys(("LANG", "LC_ALL", "LC_CTYPE"))
    without = run(PYTHON, "-c", code, env=env)
    assert without.stdout == b"1 C.UTF-8\n"
    assert run(*RUN, PYTHON, "-c", code, env=env) == without


def test_a_real_console_script_answers_the_same() -> None:
    script = str(Path(PYTHON).with_name("uvicorn"))
    assert run(*RUN, script, "--version") == run(script, "--version")


def test_the_command_itself_imports_nothing_heavy() -> None:
    imported = run(PYTHON, "-X", "importtime", "-m", "metertap", "run", "--", "true").told
    assert "metertap.cli.run" in imported
    assert "opentelemetry" not in imported


STATUSES = {
    "0": "pass",
    "3": "raise SystemExit(3)",
    "an exception": "1 / 0",
    "os._exit": "import os; os._exit(5)",
    "SIGKILL": "import os; os.kill(os.getpid(), 9)",
    "SIGTERM": "import os; os.kill(os.getpid(), 15)",
    "SIGINT": "import os; os.kill(os.getpid(), 2)",
}


@pytest.mark.parametrize("code", STATUSES.values(), ids=STATUSES.keys())
def test_the_exit_status_is_the_programs(code: str) -> None:
    assert run(*RUN, PYTHON, "-c", code) == run(PYTHON, "-c", code)


def test_a_program_that_is_not_python_runs_untouched() -> None:
    # A process that ignores SIGPIPE, as Python does, would pass that on to a shell.
    script = "read line; echo got $line; echo to stderr >&2; kill -PIPE $$; echo still here"
    without = run("sh", "-c", script, given=b"this\n")
    assert without.status == -signal.SIGPIPE
    assert run(*RUN, "sh", "-c", script, given=b"this\n") == without


def test_a_command_that_cannot_be_executed_is_told_as_shells_do(tmp_path: Path) -> None:
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    (tmp_path / "server.py").touch()
    executable(tmp_path / "no-interpreter", "#!/nowhere/python\n")
    executable(tmp_path / "bin" / "no-magic", "neither a script nor a binary\n")
    env = {"PATH": str(tmp_path / "bin")}
    for command, status, problem in (
        ([], 2, "which command?"),
        (["no-such-command"], 127, "no-such-command: command not found"),
        (["not-executable"], 127, "not-executable: command not found"),  # it is not on PATH
        (["server.py"], 127, "not found; did you mean: metertap run -- python server.py"),
        (["./not-executable"], 126, "./not-executable: is not executable"),
        (["./bin"], 126, "./bin: is not executable"),
        (["./no-interpreter"], 126, "./no-interpreter: No such file or directory"),
        (["no-magic"], 126, "no-magic: Exec format error"),
    ):
        refused = run(*RUN, *command, env=env, cwd=tmp_path)
        assert (refused.status, refused.stdout) == (status, b"")
        assert refused.told.startswith("metertap run: ")
        assert problem in refused.told
        assert refused.told.count("\n") == 1
