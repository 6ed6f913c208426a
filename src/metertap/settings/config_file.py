"""The configuration file: `[tool.metertap]` of `pyproject.toml`, or what `METERTAP_CONFIG` names.

The file that was named may hold the same table, or its keys at top level.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from metertap.faults import shown, warn_once

VARIABLE = "METERTAP_CONFIG"
DEFAULT = "pyproject.toml"  # of the working directory


def read(named: str) -> tuple[str, dict[str, Any]]:
    """Name of the file and its table; an empty one where there is none. Never raises."""
    path = Path(named or DEFAULT)
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        if named or "metertap" in text:  # the parser takes its time to import
            return path.name, _table(path, text)
    except Exception as error:
        # The program's own pyproject.toml may be missing or broken without concerning us.
        if named or "[tool.metertap" in text:
            variable = f"{VARIABLE}=" if named else ""
            warn_once(
                "configuration file",
                "%s%s cannot be read (%s) and is ignored",
                variable,
                shown(path, str),
                shown(error, str),
            )
    return path.name, {}


def load(named: str) -> dict[str, Any]:
    """The table of the file, for a command that needs it: raises what keeps it from being read."""
    path = Path(named or DEFAULT)
    return _table(path, path.read_text(encoding="utf-8"))


def _table(path: Path, text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # not a dependency: it is there wherever a build tool or pytest is
        import tomli as tomllib
    document = tomllib.loads(text)
    table = document.get("tool", {}).get("metertap")
    if table is None:
        table = {} if path.name == DEFAULT else document
    return dict(table)
