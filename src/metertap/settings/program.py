"""The program of this process: its command, its name, and the place of its own code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import NamedTuple

from metertap.labels import encodable
from metertap.text import printable

_LAUNCHERS = frozenset(
    {"uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastapi", "fastmcp", "mcp", "uwsgi"}
)
_COMMANDS = frozenset({"run", "dev", "serve"})  # of launchers
_GENERIC_STEMS = frozenset({"__main__", "main", "app", "server", "run", "index", "asgi", "wsgi"})
_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_APPLICATION = rf"(?P<where>{_NAME}|.+\.py)(:{_NAME}(\(.*\))?)?"
_SCRIPT_IMPORT = rf"(?m)^\s*from ({_NAME}) import "
"""How an entry point's script imports its function: every installer writes such a line."""
_KERNELS = frozenset({"ipykernel", "ipykernel_launcher", "colab_kernel_launcher"})
_LONGEST_NOTEBOOK = 100
"""The most characters of a notebook's name, which becomes part of everything exported."""
_INSTALLED = frozenset({"site-packages", "dist-packages"})


start_folder = ""
"""The working directory at the program's start; empty if it has not changed."""


class Program(NamedTuple):
    """A program: a module, a console script, or (with neither) a file or a line of code."""

    name: str
    module: bool = False
    script: bool = False


def arguments() -> list[str]:
    """Return the command without the interpreter's flags: `["-m", "shop.server", …]` or a path.

    It is that of `sys.orig_argv`, since `sys.argv` does not exist yet when a site hook starts
    metertap. A child that `multiprocessing` started by a command runs its parent's program.
    """
    found = _without_flags(list(getattr(sys, "orig_argv", sys.argv)))
    if is_started_by_multiprocessing():
        # A child learns its parent's arguments only after its site hooks.
        own = list(getattr(sys, "argv", ()))
        return own if own and own[0] != "-c" else _parents_arguments() or found
    return found


def name() -> str:
    """Return this program's name; a notebook kernel's is the notebook's, if Jupyter tells it."""
    found = described(arguments()).name
    # Only of kernels: programs that a notebook starts inherit its variables.
    return encodable((_notebook() if found in _KERNELS else "") or found)


def _notebook() -> str:
    """Return the name of the notebook that runs here, without its folder; empty if unknown."""
    of_editor = getattr(sys.modules.get("__main__"), "__vsc_ipynb_file__", "")  # Visual Studio Code
    for told in (os.environ.get("JPY_SESSION_NAME"), of_editor):
        path = PurePath(told if type(told) is str else "")
        if path.suffix:
            return printable(path.stem, _LONGEST_NOTEBOOK)
    return ""


def is_nameless() -> bool:
    """Return whether many programs have this command: lines of code, and kernels of notebooks."""
    command = arguments()
    return command[:1] in ([], ["-c"], ["-"]) or described(command).name in _KERNELS


def name_of_process(pid: int) -> str:
    """Return the name of another process's program; `python` if the system does not tell."""
    command = _arguments_of(pid)
    try:
        folder = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        folder = ""
    if command and not command[0].startswith("-"):
        command[0] = os.path.join(folder, command[0])
    return described(command).name


def is_started_by_multiprocessing() -> bool:
    """Return whether `multiprocessing` started this process by a command, and not by a fork."""
    found = _without_flags(list(getattr(sys, "orig_argv", sys.argv)))
    return found[:1] == ["-c"] and "from multiprocessing." in "".join(found[1:2])


def first_process() -> int:
    """Return the id of the process that runs this program and started the others that do.

    In a worker of a server it is the master's; otherwise this process's own.
    """
    pid, parent = os.getpid(), os.getppid()
    found = _without_flags(list(getattr(sys, "orig_argv", sys.argv)))
    if is_started_by_multiprocessing():
        found = _arguments_of(parent)
    while found and _arguments_of(parent) == found:
        pid, parent = parent, _parent_of(parent)
    return pid


def is_started_for_itself() -> bool:
    """Return whether no other process runs this program and started this one.

    False if that is unknown: on other systems than Linux, or if the command was overwritten by a
    title, as masters and workers of servers do.
    """
    pid = os.getpid()
    command = list(getattr(sys, "orig_argv", sys.argv))
    return first_process() == pid and _arguments_of(pid) == _without_flags(command)


def _parents_arguments() -> list[str]:
    return _arguments_of(os.getppid())


def _arguments_of(pid: int) -> list[str]:
    """Return another process's command without flags; empty if the system hides it."""
    try:
        text = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:  # only Linux has the file
        return []
    return _without_flags(text.rstrip("\0").split("\0"))


def start_of(pid: int) -> int:
    """Return a process's start in clock ticks since boot; 0 if the system hides it."""
    return _status(pid, 19)


def _parent_of(pid: int) -> int:
    return _status(pid, 1)


def _status(pid: int, field: int) -> int:
    try:
        # The program's name comes before, in parentheses, and may contain any character.
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[field])
    except (OSError, ValueError, IndexError):
        return 0


def _without_flags(command: list[str]) -> list[str]:
    found = command[1:]
    while found and found[0].startswith("-") and found[0] != "-":
        flags = found.pop(0)
        if flags == "--check-hash-based-pycs":
            del found[:1]
        elif not flags.startswith("--") and (last := re.search("[mcWX]", flags)):
            # Short flags may be joined, and a value may follow its flag: `-um shop`, `-mshop`.
            value = flags[last.end() :]
            if last.group() in "mc":
                return [f"-{last.group()}", *filter(None, [value]), *found]
            if not value:
                del found[:1]
    return found


def described(command: list[str]) -> Program:
    """Return the program that `command` runs: behind a launcher, the application."""
    if not command or command[0] in {"-c", "-"}:
        return Program(PurePath(sys.executable or "python").stem or "python")
    if command[0] == "-m":
        found, rest = Program("".join(command[1:2]) or "python", module=True), command[2:]
    else:
        name = _file_name(command[0])
        found, rest = Program(name, script=not command[0].endswith(".py")), command[1:]
    if found.name in _LAUNCHERS and (where := _application(rest)):
        if where.endswith(".py"):
            return Program(_file_name(where))
        return Program(where, module=True)
    return found


def folders() -> Iterator[Path]:
    """Yield the folders of the program's own code: its script's, or its package's.

    A line of code and an interactive session have none.
    """
    command = arguments()
    if not command or command[0] in {"-c", "-"}:
        return
    if command[0] == "-m":
        launcher, rest, module = "".join(command[1:2]), command[2:], "".join(command[1:2])
    else:
        path = Path(start_folder, command[0]).resolve()
        launcher, rest, module = _file_name(command[0]), command[1:], _module_of_script(path)
    # Launchers and -m import from the working directory; an entry point's script does not.
    imports_from_here = launcher in _LAUNCHERS or (
        command[0] == "-m" and not getattr(sys.flags, "safe_path", False)
    )
    if launcher in _LAUNCHERS:
        module = _application(rest) or ""
    if module.endswith(".py"):
        yield Path(start_folder, module).resolve().parent
    elif module:
        yield from _folders_of(module.partition(".")[0], from_here=imports_from_here)
    elif command[0] != "-m" and launcher not in _LAUNCHERS:
        yield path if os.path.isdir(path) else path.parent


def is_installed(folder: Path) -> bool:
    """Return whether packages are installed in `folder`, so that it belongs to no project."""
    is_of_environment = os.path.exists(folder.parent / "pyvenv.cfg")  # the environment's scripts
    return is_of_environment or not _INSTALLED.isdisjoint(folder.parts)


def _folders_of(package: str, *, from_here: bool) -> Iterator[Path]:
    """Yield the folders where the import of `package` would find it, without importing it."""
    # Python puts the working directory on the path only after site hooks.
    spec = PathFinder.find_spec(package, [start_folder or os.getcwd()]) if from_here else None
    spec = spec or find_spec(package)
    if spec is not None:
        for folder in spec.submodule_search_locations or [os.path.dirname(spec.origin or "")]:
            yield Path(folder).resolve()


def _module_of_script(path: Path) -> str:
    """Return the module of an entry point's function, by its script; empty for other files."""
    if path.suffix not in {"", ".exe"} or not os.path.isfile(path):
        return ""
    with path.open("rb") as script:
        head = script.read(2048)
    if not head.startswith(b"#!"):
        return ""
    text = head.decode("utf-8", "replace")
    found = re.search(_SCRIPT_IMPORT, text)
    return found.group(1) if found and "sys.exit(" in text else ""


def _file_name(path: str) -> str:
    pure = PurePath(os.path.abspath(os.path.join(start_folder, path)))
    stem = pure.stem if pure.suffix in {".py", ".pyz", ".exe", ".pyw"} else pure.name
    parent = pure.parent.name
    if stem == "__main__":
        return parent or stem
    return f"{parent}-{stem}" if stem in _GENERIC_STEMS and parent else stem


def _application(given: list[str]) -> str | None:
    """Return what a launcher starts, by its form: `module:attribute`, or a module or file."""
    # A flag's value may follow it; a launcher's own commands are no modules.
    positional = [
        argument
        for flag, argument in zip(["", *given], given, strict=False)
        if not flag.startswith("-") and argument not in _COMMANDS
    ]
    for argument in [*(item for item in given if ":" in item), *positional]:
        if match := re.fullmatch(_APPLICATION, argument):
            return match["where"]
    return None
