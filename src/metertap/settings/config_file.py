"""The configuration file: the one that `METERTAP_CONFIG` names, or a `pyproject.toml`.

A named file has the table `[tool.metertap]`, or the keys of that table at top level. Without a
name, the table is looked for in `pyproject.toml` beside the program's own code, then in the working
directory. Programs may be started in a folder that somebody else filled, such as a cloned
repository: so the working directory's file belongs to the program only if the program's code is in
that folder. The same holds for a relative name: a variable that is set for all programs names
whichever file is in the folder of each.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metertap import regular
from metertap.faults import guarded, shown
from metertap.settings import program
from metertap.settings.telling import warn_once

VARIABLE = "METERTAP_CONFIG"
DEFAULT = "pyproject.toml"
_MOST_BYTES = 256 * 1024
"""The longest file that is read: the parser takes two seconds for a megabyte of somebody else's."""
_EMPTY: Mapping[str, Any] = {}
_DEEP = r"""(?m)(?:^|[\[{,])[ \t]*(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}"""
"""A key with more parts than any real table has."""


class ConfigFile(NamedTuple):
    """A configuration file that was read."""

    path: Path
    table: Mapping[str, Any] = _EMPTY
    is_programs: bool = True
    """Whether it was named or is the program's; else it is just in the working directory."""

    @property
    def name(self) -> str:
        """The name of the file in warnings."""
        return self.path.name


def read(named: str) -> ConfigFile:
    """Read the file that is named, or found. Warns, and never raises."""
    path = Path(program.start_folder, expanded(named)) if named else None
    if path is not None and is_in_full(named):
        return ConfigFile(path, _read(path, f"{VARIABLE}=") or {})
    own: list[Path] = []
    with guarded("settings.program"):
        own = list(dict.fromkeys(program.folders()))
    if path is not None:
        found = _read(path, f"{VARIABLE}=") or {}
        return ConfigFile(path, found, bool(found) and any(_is_within(item, path) for item in own))
    here = Path(program.start_folder, DEFAULT)
    for path in dict.fromkeys(path for folder in own for path in _beside(folder)):
        if _is_written_by_owner(path):
            table = _read(path)
            if table is not None:
                return ConfigFile(path, table)
    table = _read(here)
    if table is None:
        return ConfigFile(here)
    return ConfigFile(here, table, any(_is_within(folder, here) for folder in own))


def is_in_full(named: str) -> bool:
    """Return whether a name means the same file in every folder, as with `~`, the user's own."""
    return expanded(named).is_absolute()


def expanded(named: str) -> Path:
    """Return the path of a name that may begin with `~`. Never raises."""
    try:
        return Path(named).expanduser()
    except RuntimeError:  # that user has no known folder
        return Path(named)


def load(named: str) -> dict[str, Any]:
    """Read the file for a command that needs it. Raises the error that prevents it."""
    path = expanded(named or DEFAULT)
    return _table(path, _text(_content(path))) or {}


def _beside(folder: Path) -> Iterator[Path]:
    """Yield the file's places for code in `folder`: there, above its package, above `src`."""
    if program.is_installed(folder):
        return
    yield folder / DEFAULT
    # Path.exists raises in a program that has given up its rights.
    while folder != folder.parent and os.path.exists(folder / "__init__.py"):
        folder = folder.parent
        yield folder / DEFAULT
    if folder.name == "src":
        yield folder.parent / DEFAULT


def _is_within(folder: Path, file: Path) -> bool:
    """Return whether the code in `folder` is of the project whose file may configure it."""
    project = file.parent.resolve()
    return (
        folder.is_relative_to(project)
        and not program.is_installed(folder)
        and _is_written_by_owner(file, folder)
    )


def _is_written_by_owner(path: Path, code: Path | None = None) -> bool:
    """Return whether the owner of `path` may write the program, too: anybody may write in `/tmp`.

    The owner of a link chose the file that it leads to.
    """
    try:
        writers = {path.stat().st_uid, path.lstat().st_uid}
        return os.name == "nt" or writers <= {0, os.getuid(), (code or path.parent).stat().st_uid}
    except OSError:
        return False


def _read(path: Path, variable: str = "") -> dict[str, Any] | None:
    """Read the table of the file, if it has one. `variable` names the file in a warning."""
    content = b""
    try:
        content = _content(path)
        if variable or b"metertap" in content:  # importing the parser takes time
            return _table(path, _text(content))
    except Exception as error:
        # The program's own pyproject.toml may be missing or broken, which is not our concern.
        if variable or b"[tool.metertap" in content:
            warn_once(
                "configuration file",
                "%s%s cannot be read (%s) and is ignored",
                variable,
                shown(path, str),
                shown(error, str),
            )
    return None


def _content(path: Path) -> bytes:
    """Read a file that anybody may have written, a byte more than the longest that may be parsed.

    A link may lead to an endless device, a pipe, or stdin. Raises OSError.
    """
    with regular.opened(path) as file:
        return file.read(_MOST_BYTES + 1)


def _text(content: bytes) -> str:
    """Return the text of a file that can be parsed in a moment; for others raise ValueError.

    The parser takes minutes for a key of thousands of parts.
    """
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it is longer than {_MOST_BYTES >> 10} kB")
    text = content.decode("utf-8")
    if re.search(_DEEP, text):
        raise ValueError("a key has too many parts")
    return text


def _table(path: Path, text: str) -> dict[str, Any] | None:
    document = _parsed(text)
    table = document.get("tool", {}).get("metertap")
    if table is None and path.name != DEFAULT:
        table = document
    return None if table is None else dict(table)


@functools.lru_cache(maxsize=1)  # read each time that measuring begins
def _parsed(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads(text)
    return document
