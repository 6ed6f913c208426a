"""What `tests/mutation` examines: every file of the rooms that it is about.

Whoever adds a file there names it in `tests/mutation/covering.py`, beside the tests that are about
it.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTATION = ROOT / "tests" / "mutation"


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The files that are examined."""
    monkeypatch.syspath_prepend(str(MUTATION))
    monkeypatch.delitem(sys.modules, "covering", raising=False)
    import covering

    for group in covering.GROUPS:
        for argument in group.tests:
            assert argument.startswith("-") or (ROOT / argument).exists(), argument
    return {path for group in covering.GROUPS for path in group.files}


def has_functions(path: Path) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return any(isinstance(node, kinds) for node in ast.walk(ast.parse(path.read_text())))


def test_every_file_of_a_room_that_is_examined_is_examined(files: set[str]) -> None:
    assert all((ROOT / path).exists() for path in files)
    rooms = {(ROOT / path).parent for path in files} - {ROOT / "exporters/metertap_exporters"}
    missing = {
        name
        for room in rooms
        for path in room.glob("*.py")
        if has_functions(path) and (name := str(path.relative_to(ROOT))) not in files
    }
    assert missing == set()


def test_every_row_of_the_table_is_of_a_file_that_is_examined(files: set[str]) -> None:
    rows = re.findall(r"^\| `([^`]+)`", (MUTATION / "README.md").read_text(), re.MULTILINE)
    assert len(rows) > 70
    for row in rows:
        assert sum(path.endswith(f"/{row}") for path in files) == 1, row
