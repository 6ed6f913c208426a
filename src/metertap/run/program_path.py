"""The folders that come first on the path of the program, which is about to start.

A launcher (a profiler, a debugger, a server) is a program itself: Python puts its own folder first,
and it puts that of its program on the path later. This module is imported before the program
starts, and imports only what is imported already.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OURS = ("metertap", "metertap_exporters", "metertap_instrumentation")
INSTALLED = ("site-packages", "dist-packages")
STDLIB = os.path.dirname(os.__file__)
_NEEDED = frozenset(
    {
        "importlib_metadata",
        "metertap",
        "opentelemetry",
        "prometheus_client",
        "psutil",
        "typing_extensions",
        "wrapt",
    }
)
"""Packages that metertap imports: others of the same name must not be found in their place."""
_FLAGS_WITHOUT_VALUE = frozenset(
    {"-B", "-O", "-OO", "-P", "-b", "-bb", "-d", "-q", "-s", "-u", "-v"}
)
_LAUNCHERS = frozenset(
    {
        "cProfile",
        "celery",
        "coverage",
        "daphne",
        "debugpy",
        "fastapi",
        "fastmcp",
        "flask",
        "gevent.monkey",
        "granian",
        "gunicorn",
        "hypercorn",
        "kernprof",
        "mcp",
        "memray",
        "pdb",
        "profile",
        "pyinstrument",
        "scalene",
        "streamlit",
        "trace",
        "uvicorn",
        "viztracer",
    }
)
_FOLDERS = frozenset({"--app-dir", "--chdir", "--working-dir"})
"""Options of servers that name the application's folder."""


def script() -> str | None:
    """Return the script that the command runs, if that comes first."""
    words = [word for word in sys.orig_argv[1:] if word not in _FLAGS_WITHOUT_VALUE]
    return words[0] if words and not words[0].startswith("-") else None


def first_folder() -> str | None:
    """Return the folder that comes first on the program's path; None if that is uncertain."""
    words = iter(sys.orig_argv[1:])
    for word in words:
        if word in _FLAGS_WITHOUT_VALUE:
            continue
        if word.startswith(("-W", "-X")):
            if len(word) == 2:  # its value is the next word
                next(words, None)
            continue
        if word in {"-c", "-m", "-"}:
            break
        if word.startswith("-"):
            return None
        path = os.path.realpath(word)
        return os.path.dirname(path) if os.path.isfile(path) else None
    return os.getcwd()


def launched() -> list[str]:
    """Return the folders of the program that the command's launcher runs, if it is one."""
    return folders(sys.orig_argv[1:], os.getcwd())


def folders(command: Sequence[str], folder: str) -> list[str]:
    """Return the folders of the program that a launcher runs; none if the command is no launcher.

    `command` is the command after the interpreter, `folder` its working directory.
    """
    words = iter(command)
    launcher = ""
    for word in words:
        if word in {"-W", "-X"}:  # their value is the next word
            next(words, None)
        elif word == "-m" or not word.startswith("-"):
            launcher = next(words, "") if word == "-m" else word
            break
    if os.path.basename(launcher).removesuffix(".exe") not in _LAUNCHERS:
        return []
    rest = list(words)
    found = [folder]
    for word, after in zip(rest, [*rest[1:], ""], strict=True):
        option, is_given, value = word.partition("=")
        if option in _FOLDERS:
            found.append(os.path.join(folder, value if is_given else after))
    for word in rest:
        name, ending, _ = word.partition(".py")  # the name of an application may follow it
        script = os.path.join(folder, name + ending)
        if ending and os.path.isfile(script):
            found.append(os.path.dirname(script))
            break  # the program's own arguments follow
    return found


def shadows(folder: str) -> bool:
    """Return whether a module of the program has the name of one that metertap will import."""
    try:
        names = {entry.partition(".")[0] for entry in os.listdir(folder) if _can_import(entry)}
    except OSError:
        return True
    return not (names.isdisjoint(sys.stdlib_module_names) and names.isdisjoint(_NEEDED))


def _can_import(entry: str) -> bool:
    """Return whether a file or folder of this name is a module, as `logging.yaml` is not."""
    return "." not in entry or entry.endswith((".py", ".pyc", ".so", ".pyd"))


def own_entries() -> Iterator[str]:
    """Yield entries of the path where neither packages nor metertap are installed."""
    for entry in sys.path:
        if entry.startswith(STDLIB) or any(name in entry for name in INSTALLED):
            continue
        if not any(os.path.exists(os.path.join(entry, name)) for name in OURS):
            yield entry
