"""Markers: each stands in the file whose tests it marks, since `tests/conftest.py` looks there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_what_tests_inherit_or_call_marks_none_of_them() -> None:
    inherited = [
        path
        for folder in ("kits", "servers", "support")
        for path in (TESTS / folder).rglob("*.py")
        if re.search(r"mark\.(interpreter|library|mcp|sdk)\b", path.read_text(encoding="utf-8"))
    ]
    assert inherited == []
