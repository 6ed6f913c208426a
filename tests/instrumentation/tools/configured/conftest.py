"""Each test has a program of its own, `toolshop`, beside its configuration file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import metertap
from support.configured_shop import SHOP


@pytest.fixture(autouse=True)
def shop_is_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "toolshop").mkdir()
    (tmp_path / "toolshop" / "__init__.py").touch()
    (tmp_path / "toolshop" / "server.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "pyproject.toml"))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    metertap.uninstrument()
    for name in [name for name in sys.modules if name.partition(".")[0] == "toolshop"]:
        del sys.modules[name]
