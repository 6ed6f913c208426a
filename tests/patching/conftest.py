"""A module as it is, and the same one decorated and patched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metertap.patching.patch_set import PatchSet
from support.stand_in_shop import MODULE, SOURCE, Both, decorate, execute, targets


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    """The module as it is, and the same one decorated and patched, which can be imported."""
    path = tmp_path / f"{MODULE}.py"
    path.write_text(SOURCE)
    bare, measured = execute(path), execute(path)
    monkeypatch.setitem(sys.modules, MODULE, measured)
    patches = PatchSet(MODULE, targets(measured))
    decorate(measured)
    patches.install()
    assert patches.problem is None
    yield Both(bare, measured)
    patches.uninstall()
