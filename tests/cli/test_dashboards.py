"""`metertap dashboards`: it writes the dashboards of the repository, and needs no extra."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from metertap.cli import main

KEPT = Path(__file__).parents[2] / "dashboards" / "provisioning"


def read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_files_of_the_repository_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk", None)  # its import fails
    assert main(["dashboards", "--out", str(tmp_path)]) == 0
    assert len(read(KEPT)) == 6
    assert read(tmp_path / "provisioning") == read(KEPT)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_nobody_elses_link_or_pipe_is_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    place = tmp_path / "provisioning" / "datasources" / "metertap.yaml"
    place.parent.mkdir(parents=True)
    place.symlink_to(mine)
    assert main(["dashboards", "--out", str(tmp_path)]) == 0
    assert mine.read_text() == "mine"
    assert read(tmp_path / "provisioning") == read(KEPT)
    place.unlink()
    os.mkfifo(place)
    assert main(["dashboards", "--out", str(tmp_path)]) == 1
    assert f"{place} is no regular file" in capsys.readouterr().err
