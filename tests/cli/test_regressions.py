"""`metertap regressions`: a table, JSON, Markdown, and exit statuses for CI."""

from __future__ import annotations

import json
import math
import random
import re
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import metertap.history
from metertap.cli import main
from metertap.history.answers import Subject
from metertap.history.store import Run, Store
from metertap.history.tally import Tally

START = 20_000 * 86_400
HOSTILE = "@all |<b>\x1b[31m`x`"


def written(path: Path, milliseconds: dict[str, tuple[float, float]], calls: int = 50) -> Path:
    """Ten intervals of version 1.0, then ten of 2.0, of tools that are so slow in each."""
    chance = random.Random(1)
    with closing(Store(path, 10_000_000)) as store:
        for interval in range(20):
            tallies = {}
            for name, both in milliseconds.items():
                tally = Tally({"ok": calls})
                middle = math.log(both[interval // 10] / 1000)
                tally.sketch().add([chance.lognormvariate(middle, 0.3) for _ in range(calls)])
                tallies[Subject("tool", name, "mcp")] = tally
            version = f"{interval // 10 + 1}.0"
            store.write(Run("shop", version, version), [(START + 10 * interval, tallies)])
    return path


@pytest.fixture
def slowed(tmp_path: Path) -> str:
    tools = {"search": (40.0, 60.0), "order": (40.0, 40.0), HOSTILE: (40.0, 48.0)}
    return str(written(tmp_path / "history.db", tools))


def test_the_slowed_tool_comes_first_with_its_version_and_time(
    slowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["regressions", "--history", slowed, "--json"]) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["before"]["version"], found["after"]["version"]) == ("1.0", "2.0")
    first, *others = [item for item in found["findings"] if item["what"] == "latency"]
    assert (first["name"], first["version"], first["since"]) == ("search", "2.0", START + 100)
    assert first["change_low"] < 0.5 < first["change_high"]
    assert [item["name"] for item in others] == [HOSTILE]
    assert found["compared"] == 3


def test_a_table_has_at_most_a_hundred_columns(
    slowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["regressions", "--history", slowed, "--before", "1.0", "--after", "2.0"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"2 of 3 are worse: 2\.0 against 1\.0", lines[0])
    assert re.match(
        r"  search +p50 +\d\d\.\d ms +\d\d\.\d ms +\+\d\d % \(\+\d\d to \+\d\d\)", lines[2]
    )
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in "".join(lines)


def test_markdown_for_a_pull_request_mentions_nobody(
    slowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["regressions", "--history", slowed, "--format", "github"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("### :x: metertap: ")
    assert "| search | p50 |" in told
    assert r"\@all \|\<b\>\\x1b\[31m\`x\`" in told
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1


def test_what_stayed_the_same_is_status_0_in_every_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(written(tmp_path / "history.db", {"search": (40.0, 40.0)}))
    for form in ((), ("--json",), ("--format", "github")):
        assert main(["regressions", "--history", file, *form]) == 0
        told = capsys.readouterr()
        assert told.err == ""
        assert re.search('no regressions|:white_check_mark:|"worse": 0', told.out)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--before", "1.0"], "--before and --after need each other"),
        (["--before", "1.0", "--after", "3.0"], "there is no version 3.0 in it, but 1.0, 2.0"),
        (
            ["--before", "1.0", "--after", "2.0", "--baseline", "7d"],
            "--baseline cannot be combined",
        ),
        (["--history", "absent.db"], "absent.db"),
        (["--history", ""], "no history is named"),
        ([], "nothing has enough calls on both sides"),
    ],
)
def test_what_cannot_be_told_is_status_2_and_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(written(tmp_path / "history.db", {"search": (40.0, 40.0)}, calls=2))
    assert main(["regressions", "--history", file, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metertap regressions: ")
    assert told in line


def test_without_scipy_the_command_that_installs_it_is_named(
    slowed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("comparison", "findings", "regressions"):
        monkeypatch.delitem(sys.modules, f"metertap.history.{name}", raising=False)
        monkeypatch.delattr(metertap.history, name, raising=False)
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert main(["regressions", "--history", slowed]) == 2
    told = capsys.readouterr().err
    assert "scipy cannot be imported: " in told
    assert "[regressions]" in told
