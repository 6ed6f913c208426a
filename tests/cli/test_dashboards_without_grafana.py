"""`metertap dashboards` where the library that builds them is absent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metertap.cli import main
from metertap.install_command import install_command


def test_one_line_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk", None)  # import fails
    assert main(["dashboards", "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert told.err == (
        "metertap dashboards: grafana-foundation-sdk is not installed: "
        f"{install_command('grafana')}, on Python 3.11 or newer\n"
    )
    assert told.out == ""
    assert not (tmp_path / "out").exists()
