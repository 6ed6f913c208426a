"""What several tests of endpoints need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.every_view import Publish, publishing
from support.every_way import LINES, SHOP, kept


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def shop_is_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "everyway").mkdir()
    (tmp_path / "everyway" / "__init__.py").touch()
    (tmp_path / "everyway" / "shop.py").write_text(SHOP)
    (tmp_path / "pyproject.toml").write_text(LINES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "pyproject.toml"))
    monkeypatch.syspath_prepend(tmp_path)
    kept.clear()
    yield
    kept.clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "everyway"]:
        del sys.modules[name]


@pytest.fixture
def published(shop_is_importable: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    with publishing(monkeypatch) as after:
        yield after
