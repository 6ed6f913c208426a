"""What stands where the MCP instrumentor patches."""

from __future__ import annotations

import importlib
from functools import reduce
from typing import Any

from metertap_instrumentation.tools import mcp


def bound() -> list[str]:
    """Paths of what is patched now."""
    return [path for item in mcp.INSTRUMENTATION.patch_sets for path in item.bound]


def in_namespace(path: str) -> Any:
    """What stands under `path` in its owner's own namespace, or None where it is inherited."""
    owner, name = _owner(path)
    return vars(owner).get(name)


def set_in_namespace(path: str, value: Any) -> None:
    """Put back what `in_namespace` found there."""
    owner, name = _owner(path)
    if value is None:
        delattr(owner, name)
    else:
        setattr(owner, name, value)


def _owner(path: str) -> tuple[Any, str]:
    module, _, attribute = path.partition(":")
    *owners, name = attribute.split(".")
    return reduce(getattr, owners, importlib.import_module(module)), name
