"""The command that hints name: it installs from where this copy came, not a stranger's package."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from metertap.install_command import install_command

ROOT = Path(__file__).parents[2]
BARE = re.compile(r"pip install '?metertap")


class Installed(metadata.Distribution):
    """A distribution with these files in its folder of metadata."""

    def __init__(self, **files: str) -> None:
        self.files_by_name = files

    def read_text(self, filename: str) -> str | None:
        return self.files_by_name.get(filename.partition(".")[0])

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


def command(monkeypatch: pytest.MonkeyPatch, origin: Any, installer: str = "pip") -> str:
    text = origin if isinstance(origin, str) else json.dumps(origin)
    found = Installed(INSTALLER=installer + "\n", direct_url=text)
    monkeypatch.setattr(metadata, "distribution", lambda _name: found)
    return install_command("cli")


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        ({"url": "file:///src/metertap", "dir_info": {}}, "'/src/metertap[cli]'"),
        (
            {"url": "file:///my%20src/metertap", "dir_info": {"editable": True}},
            "-e '/my src/metertap[cli]'",
        ),
        (
            {"url": "file:///tmp/metertap-1-py3-none-any.whl", "archive_info": {}},
            "'metertap[cli] @ file:///tmp/metertap-1-py3-none-any.whl'",
        ),
        (
            {"url": "https://git.example/m", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "'metertap[cli] @ git+https://git.example/m@abc'",
        ),
        ("", "'metertap[cli]'"),  # from an index, by its name
        ("{", "'metertap[cli]'"),
        ("[]", "'metertap[cli]'"),
    ],
)
def test_it_names_where_this_copy_came_from(
    origin: Any, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(monkeypatch, origin) == f"pip install {wanted}"


def test_it_names_what_installed_this_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, "", "uv").startswith("uv pip install ")


def test_a_copy_that_nobody_installed_has_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    assert install_command("cli") == "pip install 'metertap[cli]'"


def test_no_hint_is_written_by_hand() -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "exporters").rglob("*.py")]
    written = [
        str(path.relative_to(ROOT))
        for path in sources
        if path.name != "install_command.py" and BARE.search(path.read_text(encoding="utf-8"))
    ]
    assert written == []
