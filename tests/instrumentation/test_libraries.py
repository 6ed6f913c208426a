"""The table of libraries, and everything that repeats what it says."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from metertap_instrumentation.libraries import LIBRARIES, MEASURED_BY_OTHERS, PYTHON, Library

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
WHOLE = [
    library
    for library in (*LIBRARIES.values(), *MEASURED_BY_OTHERS)
    if library.distribution != PYTHON and library.part != "response caching"
]
"""Those whose range is what an extra asks for: fastmcp's caching is of its newer versions."""


def of(library: Library) -> str:
    return f"{library.module} {library.distribution}"


def documented() -> list[str]:
    text = (ROOT / "docs" / "libraries.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=of)
def test_each_module_measures_what_the_table_says(library: Library) -> None:
    module = importlib.import_module(f"metertap_instrumentation.{library.module}")
    assert module.INSTRUMENTATION.library is library


def test_no_module_is_left_out() -> None:
    folder = ROOT / "instrumentation" / "metertap_instrumentation"
    found = set()
    for path in folder.rglob("*.py"):
        if re.search(
            r"^INSTRUMENTATION(: \w+)? = \w*Instrumentation\(", path.read_text("utf-8"), re.M
        ):
            parts = path.relative_to(folder).with_suffix("").parts
            found.add(".".join(parts).removesuffix(".__init__"))
    assert found == set(LIBRARIES)


@pytest.mark.parametrize("library", WHOLE, ids=of)
def test_an_extra_asks_for_the_verified_versions(library: Library) -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = [item for extra in project["optional-dependencies"].values() for item in extra]
    assert library.requirement in required


@pytest.mark.parametrize("library", [*LIBRARIES.values(), *MEASURED_BY_OTHERS], ids=of)
def test_the_documentation_names_the_verified_versions(library: Library) -> None:
    known = "functools" if library.distribution == PYTHON else library.distribution
    link = f"/{known.removesuffix('-slim')}/".lower() if known != "functools" else known
    rows = [line for line in documented() if link in line.lower()]
    assert any(f"≥ {library.first}, < {library.below} " in row for row in rows), rows


@pytest.mark.parametrize("library", WHOLE, ids=of)
def test_continuous_integration_runs_the_first_version(library: Library) -> None:
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pins: list[str] = re.findall(rf"\b{re.escape(library.distribution)}==([\d.]+)", run)
    assert any(f"{pin.rstrip('.')}.".startswith(f"{library.first}.") for pin in pins), pins
