"""The file of a history. Comparisons need scipy, which the oldest environments lack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from metertap.history.store import Store

collect_ignore = [] if find_spec("scipy") else ["test_regressions.py"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path, 100_000_000)) as store:
        yield store
