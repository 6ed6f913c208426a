"""Folders that a launcher puts on the path of its program, after metertap has started.

A profiler, a debugger or a server is a program itself, whose own folder Python puts first. This
module is imported before the program starts, and imports only what is imported already.
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
"""Options of servers that name the application's folder."""


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
