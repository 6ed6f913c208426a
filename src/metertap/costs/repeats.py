"""Repeated requests: a bounded set of salted hashes, kept only on request.

The salt is random in each process and never leaves it, so no hash reveals a request.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from hashlib import blake2b
from typing import Any

from metertap import state

_MOST = 10_000
"""The most requests that are remembered (1 MB). Older ones count as new again."""
_salt = os.urandom(16)
_known: OrderedDict[bytes, None] = OrderedDict()


def are_looked_for() -> bool:
    """Return whether the program's settings ask to look for repeats."""
    return state.settings().cost_repeats


def seen(tool: str, provider: str, request: Any) -> bool:
    """Return whether `tool` sent the same request before, and remember it."""
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
