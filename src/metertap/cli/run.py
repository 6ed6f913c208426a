"""`metertap run -- CMD …`: the program itself, measured.

CMD replaces this process (on POSIX), so signals, stdio and the exit status are its own. Its
Python finds `run_site/sitecustomize.py` on PYTHONPATH, which instruments it before its first line
and then takes itself out of the environment, so that programs it starts are not measured.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_NOT_FOUND, _NOT_EXECUTABLE, _USAGE = 127, 126, 2  # as shells have it

_PYTHON_IGNORES_ENVIRONMENT = re.compile(r"python[\w.]*\S*\s+(?:-\w+\s+)*-\w*[IES]")


def run(program: Sequence[str], *, children: bool = False) -> int:
    """Execute `program`; returns only where it could not be executed, or on Windows."""
    command = list(program[1:] if program[:1] == ["--"] else program)
    if not command:
        sys.stderr.write("metertap run: which command? metertap run -- CMD [ARG ...]\n")
        return _USAGE
    path = shutil.which(command[0])
    if path is None:
        exists = os.path.exists(command[0])
        problem = "is not executable" if exists else "command not found"
        sys.stderr.write(f"metertap run: {command[0]}: {problem}\n")
        return _NOT_EXECUTABLE if exists else _NOT_FOUND
    reason = _unmeasurable(path, command)
    if reason is not None:
        sys.stderr.write(f"metertap: the program runs unmeasured, because {reason}\n")
    environment = _environment(children)
    if os.name == "nt":
        return subprocess.call([path, *command[1:]], env=environment)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(path, command, environment)
    except OSError as error:
        sys.stderr.write(f"metertap run: {command[0]}: {error.strerror}\n")
        return _NOT_EXECUTABLE


def _environment(children: bool) -> dict[str, str]:
    environment = dict(os.environ)
    site = str(Path(__file__).resolve().parent.parent / "run_site")
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = f"{site}{os.pathsep}{inherited}" if inherited else site
    if children:
        environment["METERTAP_RUN_CHILDREN"] = "true"
    else:
        environment.pop("METERTAP_RUN_CHILDREN", None)
    return environment


def _unmeasurable(path: str, command: Sequence[str]) -> str | None:
    """Why the program's Python will not see our folder, where that can be known beforehand."""
    line = f"{os.path.basename(path)} {' '.join(command[1:])} " if _is_python(path) else ""
    if not line:
        line = _shebang(path)
    if _PYTHON_IGNORES_ENVIRONMENT.search(line):
        return f"its Python is started with -I, -E or -S and ignores PYTHONPATH: {command[0]}"
    return None


def _is_python(path: str) -> bool:
    return re.fullmatch(r"python[\d.]*(\.exe)?", os.path.basename(path)) is not None


def _shebang(path: str) -> str:
    try:
        with open(path, "rb") as script:
            first = script.readline(512)
    except OSError:
        return ""
    if not first.startswith(b"#!"):
        return ""
    return first[2:].decode("utf-8", "replace").strip().rpartition("/")[2] + " "
