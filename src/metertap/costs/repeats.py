"""Requests that were sent before: a bounded sketch of salted hashes, kept only where asked for.

The salt is made at random in each process and never leaves it, so no hash tells what was asked.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from hashlib import blake2b
from typing import Any

from metertap import state

_MOST = 10_000
"""Requests that are remembered: 1 MB. One that comes again after so many others looks new."""
_salt = os.urandom(16)
_known: OrderedDict[bytes, None] = OrderedDict()


def are_looked_for() -> bool:
    """Return whether the program's settings ask to look for repeats."""
    return state.settings().cost_repeats


def seen(tool: str, provider: str, request: Any) -> bool:
    """Return whether `tool` sent this very request before, and remember it."""
    text = json.dumps([tool, provider, request], sort_keys=True, default=repr)
    digest = blake2b(text.encode("utf-8", "surrogatepass"), key=_salt, digest_size=16).digest()
    was_known = digest in _known
    _known[digest] = None
    _known.move_to_end(digest)
    while len(_known) > _MOST:
        _known.popitem(last=False)
    return was_known


def _forget() -> None:
    global _salt
    _salt = os.urandom(16)
    _known.clear()


state.on_reset(_forget)
state.on_fork(child=_forget)
