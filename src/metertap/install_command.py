"""The shell command that installs an extra, from the same place as this copy of metertap.

A bare `pip install metertap[…]` would fetch whatever an index has under that name, which need not
be this package.
"""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

_NAME = "metertap"


def install_command(extra: str) -> str:
    """Return the command for a shell that adds `extra` to this environment."""
    installer, source = "pip", ""
    try:
        distribution = metadata.distribution(_NAME)
        installer = (distribution.read_text("INSTALLER") or "").strip()
        source = distribution.read_text("direct_url.json") or ""
    except metadata.PackageNotFoundError:  # metertap runs from a folder that was not installed
        pass
    pip = "uv pip" if installer == "uv" else "pip"
    return f"{pip} install {_requirement(extra, source)}"


def _requirement(extra: str, direct_url: str) -> str:
    """Return the requirement for pip; `direct_url` is the text of PEP 610's file, or empty."""
    try:
        origin: dict[str, Any] = json.loads(direct_url) if direct_url else {}
        url = str(origin.get("url", ""))
        directory, version_control = origin.get("dir_info"), origin.get("vcs_info")
        if directory is not None:
            from urllib.request import url2pathname  # imports all of HTTP, so not at start

            path = url2pathname(urlsplit(url).path)
            editable = "-e " if directory.get("editable") else ""
            return editable + _quoted(f"{path}[{extra}]")
        if version_control is not None:
            url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
    except (ValueError, AttributeError, KeyError, TypeError):
        url = ""
    return _quoted(f"{_NAME}[{extra}] @ {url}" if url else f"{_NAME}[{extra}]")


def _quoted(text: str) -> str:
    """Quote a text for a shell: a requirement with brackets always needs it.

    As `shlex` does it, which would have to be imported at the start of every program.
    """
    return "'" + text.replace("'", "'\"'\"'") + "'"
