"""Folders that a launcher puts on the path of the program that it runs, after metertap has started.

A profiler, a debugger or a server is a program itself, whose own folder Python puts there first.
This module is imported before the program starts, and imports nothing that is not there already.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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
"""Options of servers that name the folder of the application."""


def folders(command: Sequence[str], folder: str) -> list[str]:
    """Return the folders of what a launcher runs; none where the command names no launcher.

    `command` is what stands after the interpreter, and `folder` the one that it started in.
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
        name, ending, _ = word.partition(".py")  # there may be the name of an application behind it
        script = os.path.join(folder, name + ending)
        if ending and os.path.isfile(script):
            found.append(os.path.dirname(script))
            break  # what follows are the program's own arguments
    return found
