"""Programs that a launcher runs from another folder import what they import by themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metertap.run import program_path
from support.programs import RUN, run

pytestmark = [pytest.mark.interpreter, pytest.mark.programs]

NAMES = ("calendar", "csv", "html", "numbers", "platform", "resource", "statistics", "uuid")
PROGRAM = f"""
import importlib
for name in {NAMES}:
    module = importlib.import_module(name)
    if getattr(module, "MINE", None) != 1:
        print(name, "is", module)
"""


@pytest.mark.parametrize("env", [{"METERTAP_HISTORY": "kept.db"}, {}], ids=["at once", "waiting"])
@pytest.mark.parametrize("launcher", ["-m profile -o told", "-mcProfile -o told"])
def test_modules_beside_the_script_are_found(
    launcher: str, env: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text("MINE = 1\n")
    (folder / "program.py").write_text(PROGRAM)
    command = (sys.executable, *launcher.split(), "sub/program.py")
    assert run(*RUN, *command, env=env, cwd=tmp_path) == run(*command, cwd=tmp_path)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("-m pdb sub/shop.py other/shop.py", ["", "sub"]),
        ("-X dev -W error -m coverage run --branch sub/shop.py", ["", "sub"]),
        ("bin/uvicorn --app-dir app shop:app", ["", "app"]),
        ("/bin/gunicorn --chdir=app shop:app", ["", "app"]),
        ("bin/mcp run sub/shop.py:server", ["", "sub"]),
        ("-m pdb missing.py", [""]),
        ("sub/shop.py pdb other/shop.py", []),
        ("-c pass", []),
        ("", []),
    ],
)
def test_folders_are_read_off_the_command(command: str, found: list[str], tmp_path: Path) -> None:
    for folder in ("sub", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shop.py").write_text("")
    made = program_path.folders(command.split(), str(tmp_path))
    assert [Path(one) for one in made] == [tmp_path / one for one in found]
