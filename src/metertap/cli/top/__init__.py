"""`metertap top [URL ...]`: the tools and caches of running processes, now, in a terminal."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from metertap.cli.tables import has_rich


def top(urls: Sequence[str], *, once: bool, as_json: bool, interval: float) -> int:
    """Show them live, or once where that is asked for or the terminal can do no more."""
    if not (once or as_json) and _can_be_live():
        if has_rich():
            from metertap.cli.top.live import live

            return live(urls, interval)
        sys.stderr.write("metertap top: the live view needs rich: pip install 'metertap[cli]'\n")
    from metertap.cli.top.once import show_once

    return show_once(urls, interval, as_json=as_json)


def _can_be_live() -> bool:
    """Whether somebody looks who can press keys, at a terminal that can move its cursor."""
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") not in {"dumb", "unknown", ""}
        and importlib.util.find_spec("termios") is not None
    )
