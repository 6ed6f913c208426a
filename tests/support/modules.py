"""Real modules, made for one test, and a wrapper that remembers its calls."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metertap.patching import imports


def importable(
    name: str, source: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Write a module that can be imported and has not been; forget it in the end."""
    (directory / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(directory)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield name
    sys.modules.pop(name, None)
    imports._watched.pop(name, None)  # of patches that the test has left installed


class Watching:
    """A wrapper that remembers whom it was called for."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def __call__(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        self.seen.append((instance, args))
        return wrapped(*args, **kwargs)
