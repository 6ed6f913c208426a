"""Each test has a program of its own, `toolshop`, beside its configuration file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.configured_shop import SHOP
from support.own_program import importable


@pytest.fixture(autouse=True)
def shop_is_importable(tmp_path: Path) -> Iterator[None]:
    with importable("toolshop.server", SHOP, tmp_path):
        yield
