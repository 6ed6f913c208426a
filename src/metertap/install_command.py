"""The command that installs an extra, from where this copy of metertap came from.

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
    except metadata.PackageNotFoundError:  # run from a folder that nobody installed
        pass
    pip = "uv pip" if installer == "uv" else "pip"
    return f"{pip} install {_requirement(extra, source)}"


def _requirement(extra: str, direct_url: str) -> str:
    """Return what is to be installed; `direct_url` is the file of PEP 610, if there is one."""
    try:
        origin: dict[str, Any] = json.loads(direct_url) if direct_url else {}
        url = str(origin.get("url", ""))
        directory, version_control = origin.get("dir_info"), origin.get("vcs_info")
        if directory is not None:
            from urllib.request import url2pathname  # and all of HTTP, at no start of a program

            path = url2pathname(urlsplit(url).path)
            editable = "-e " if directory.get("editable") else ""
            return editable + _quoted(f"{path}[{extra}]")
        if version_control is not None:
            url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
    except (ValueError, AttributeError, KeyError, TypeError):
        url = ""
    return _quoted(f"{_NAME}[{extra}] @ {url}" if url else f"{_NAME}[{extra}]")


def _quoted(text: str) -> str:
    """Quote a text for a shell: what has brackets always needs it.

    As `shlex` does it, whose import every program would wait for.
    """
    return "'" + text.replace("'", "'\"'\"'") + "'"
