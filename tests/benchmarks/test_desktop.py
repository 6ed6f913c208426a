"""A small instance of `python -m benchmarks.desktop`: commands and page show all calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import desktop

pytest.importorskip("mcp", reason="the servers are made with it")
pytestmark = pytest.mark.programs


def test_four_servers_on_stdio_are_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # the benchmark sets it, too
    is_complete = desktop.measured("one", 4, tmp_path)
    shown = capsys.readouterr().out
    assert is_complete, shown
    assert "4 servers answered" in shown
