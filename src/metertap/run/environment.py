"""The environment in which Python finds the hook of `metertap run` before the program starts."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # imported before the program starts, and typing takes a while
if TYPE_CHECKING:
    from collections.abc import MutableMapping

INTERPRETER = "METERTAP_RUN_PYTHON"
"""The Python of `metertap run`, which a program may mean by `python`. The hook removes it."""
_SITE = os.path.join(os.path.dirname(__file__), "site")


def add_hook(environ: MutableMapping[str, str]) -> None:
    """Put the hook's folder first on PYTHONPATH; the hook itself removes it again."""
    inherited = environ.get("PYTHONPATH")
    if inherited is not None and _SITE in inherited.split(os.pathsep):
        return
    # Twice, it says that the variable was set, and empty.
    entries = [_SITE] if inherited is None else [_SITE, inherited or _SITE]
    environ["PYTHONPATH"] = os.pathsep.join(entries)
