"""The lock of the core's dependencies, and what CI makes of advisories."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("audit", str(ROOT / ".ci" / "audit"))
    spec = importlib.util.spec_from_loader("audit", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_lock_pins_every_dependency_of_the_core(audit: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {
        requirement.name: next(iter(requirement.specifier)).version
        for requirement in map(Requirement, audit.pins(audit.LOCK))
    }
    for wanted in map(Requirement, project["dependencies"]):
        assert wanted.specifier.contains(pinned[wanted.name], prereleases=True), wanted


def test_everything_in_the_lock_has_hashes(audit: ModuleType) -> None:
    parts = re.split(r"\n(?=[a-z])", audit.LOCK.read_text(encoding="utf-8"))[1:]
    assert len(parts) == len(audit.pins(audit.LOCK)) >= 5
    assert [part for part in parts if "--hash=sha256:" not in part] == []


FINE: dict[str, Any] = {"name": "wrapt", "version": "2.0", "vulns": []}
SKIPPED = {"name": "wrapt", "skip_reason": "not found"}
BAD = {**FINE, "vulns": [{"id": "GHSA-1", "fix_versions": ["2.1"]}]}


@pytest.mark.parametrize(
    ("found", "is_fine", "told"),
    [
        (None, True, "NOT AUDITED"),
        ({"dependencies": [FINE]}, True, "no advisory"),
        ({"dependencies": [FINE, SKIPPED]}, True, "NOT AUDITED: wrapt"),
        ({"dependencies": [SKIPPED, BAD]}, False, "wrapt 2.0: GHSA-1, mended in 2.1"),
    ],
)
def test_an_advisory_fails_and_silence_is_said(
    audit: ModuleType, found: Any, is_fine: bool, told: str
) -> None:
    verdict, lines = audit.verdict(found)
    assert verdict is is_fine
    assert any(told in line for line in lines)
