"""A package of the program's own, beside the configuration file of the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import metertap


@contextmanager
def importable(module: str, source: str, tmp_path: Path) -> Iterator[None]:
    """Have `package.module` importable in `tmp_path`, where the test runs; it is gone after."""
    package, _, name = module.partition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / f"{name}.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("METERTAP_CONFIG", str(tmp_path / "pyproject.toml"))
        patch.syspath_prepend(tmp_path)
        yield
        metertap.uninstrument()
    for found in [found for found in sys.modules if found.partition(".")[0] == package]:
        del sys.modules[found]
