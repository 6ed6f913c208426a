"""`metertap trends`: a table with bars, a row for each period, JSON, CSV and pictures."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from metertap.cli import main
from metertap.cli.trends import tables
from metertap.history import times
from metertap.history.answers import NO_SOURCE, Slice, Subject
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from metertap.history.trends import Trend, Trends, milliseconds
from metertap.recording.usage_series import NO_TOOL

DAY = 86_400
START = 20_000 * DAY
SEARCH, PRICES = Subject("tool", "search", "mcp"), Subject("cache", "prices", "cachetools")
UNTIL = ("--since", "2024-10-04T00:00+00:00", "--until", "2024-10-08T00:00+00:00")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four days: the first two of version 1, the others of version 2, which is slower."""
    path = tmp_path / "history.db"
    with closing(Store(path, 10_000_000)) as store:
        for day in range(4):
            tool = Tally({"ok": 90, "tool_error": 10}, {"ValueError": 10})
            tool.sketch().add([0.1 * (1 + day // 2)] * 100)
            tallies = {SEARCH: tool, PRICES: Tally(hits=3 - day // 2, misses=1)}
            store.write(Run("shop", f"1.{day // 2}", "one"), [(START + day * DAY, tallies)])
    monkeypatch.setenv("METERTAP_HISTORY", str(path))
    return path


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["trends", *UNTIL, *arguments]) == 0
    return capsys.readouterr().out


def test_a_row_for_each_tool_and_cache_with_bars(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = answered(capsys, "--step", "1d").splitlines()
    assert shown[0].startswith("shop: ")
    assert "1.1 of shop since " in shown[0]
    (search,) = (line for line in shown if line.startswith("  search"))
    assert " ".join(search.split()) == "search 400 10.0 100 ms 200 ms 200 ms ▅▅██ ValueError 40"
    (prices,) = (line for line in shown if line.startswith("  prices"))
    assert " ".join(prices.split()) == "prices 14 71.4 ██▇▇"


@pytest.mark.parametrize(
    ("calls", "percentiles"), [(1, "– – –"), (5, "100 ms ≈100 ms ≈100 ms")], ids=["one", "few"]
)
def test_percentiles_of_few_calls_are_shown_as_elsewhere(
    calls: int,
    percentiles: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("METERTAP_HISTORY", str(tmp_path / "few.db"))
    tally = Tally({"ok": calls})
    tally.sketch().add([0.1] * calls)
    with closing(Store(tmp_path / "few.db", 10_000_000)) as store:
        store.write(Run("shop", "1.0", "one"), [(START, {SEARCH: tally})])
    lines = answered(capsys, "--step", "1d").splitlines()
    (search,) = (line for line in lines if line.startswith("  search"))
    assert f" {calls} 0 {percentiles} " in " ".join(search.split())
    legend = [line.strip()[0] for line in lines if "too few calls" in line or "two calls" in line]
    assert legend == [sign for sign in "≈–" if sign in percentiles]


def test_model_calls_that_no_tool_made_are_no_tool(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store(file, 10_000_000)) as store:
        for name, source in ((NO_TOOL, NO_SOURCE), (NO_TOOL, "mcp")):
            tally = Tally({} if source == NO_SOURCE else {"ok": 5}, extra={"cost_usd": 0.5})
            run = Run("shop", "1.1", "one")
            store.write(run, [(START + 3 * DAY, {Subject("tool", name, source): tally})])
    tools = json.loads(answered(capsys, "--json"))["tools"]
    assert [(tool["name"], tool["source"]) for tool in tools] == [
        ("search", "mcp"),
        (NO_TOOL, "mcp"),  # the program's own tool of that name
    ]


def test_a_row_for_each_period_of_one_tool(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = answered(capsys, "--step", "2d", "--tool", "search").splitlines()
    rows = [line.split() for line in shown if " search " in line]
    assert [row[2:6] for row in rows] == [
        ["search", "200", "10.0", "100"],
        ["search", "200", "10.0", "200"],
    ]
    assert "prices" not in "".join(shown)


def test_versions_apart(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = answered(capsys, "--by", "version").splitlines()
    rows = [line.split()[:5] for line in shown if line.startswith("  search")]
    assert rows == [
        ["search", "1.0", "200", "10.0", "100"],
        ["search", "1.1", "200", "10.0", "200"],
    ]


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(answered(capsys, "--json", "--step", "1d"))
    assert (found["since"], found["until"], found["step_seconds"]) == (START, START + 4 * DAY, DAY)
    assert [version["version"] for version in found["versions"]] == ["1.0", "1.1"]
    (tool,), (cache,) = found["tools"], found["caches"]
    assert (tool["name"], tool["calls"], tool["error_rate"]) == ("search", 400, 10.0)
    assert [each["p95_latency_ms"] for each in tool["periods"]] == pytest.approx(
        [100, 100, 200, 200], rel=0.01
    )
    assert [each["hit_rate"] for each in cache["periods"]] == pytest.approx(
        [75, 75, 66.67, 66.67], rel=1e-3
    )


def test_the_history_may_be_named_without_the_option(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answered(capsys, "--csv")
    monkeypatch.setenv("METERTAP_HISTORY", "another.db")
    assert answered(capsys, "--csv", str(file)) == expected
    assert answered(capsys, "--csv", "--history", str(file)) == expected
    with pytest.raises(SystemExit):
        main(["trends", str(file), "--history", "another.db"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_csv(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(answered(capsys, "--csv", "--step", "1d"))))
    assert [row["calls"] for row in rows if row["name"] == "search"] == ["100"] * 4
    assert [row["hits"] for row in rows if row["name"] == "prices"] == ["3", "3", "2", "2"]
    assert rows[0]["start"] == "2024-10-04T00:00:00+00:00"


@pytest.mark.parametrize(
    "name", ["=1+1", "\x1b]0;title\x07", "a\r\nFORGED", "\u202eleft", "\x9b31m"]
)
def test_names_in_csv_act_on_no_terminal_and_are_no_formulas(
    name: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store(file, 10_000_000)) as store:
        store.write(
            Run(name, name, "one"), [(START, {Subject("tool", name, name): Tally({"ok": 1})})]
        )
    text = answered(capsys, "--csv", "--step", "1d")
    assert all(line.isprintable() for line in text.split("\n"))
    rows = [*csv.DictReader(io.StringIO(text))]
    for column in ("service", "version", "name", "source"):
        assert {each[column][:1] for each in rows}.isdisjoint("=+-@")


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures(
    file: Path, tmp_path: Path, suffix: str, begins: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / f"trends.{suffix}"
    answered(capsys, "--plot", str(picture))
    assert picture.read_bytes().startswith(begins)


@pytest.mark.parametrize("name", ["_OTHER", r"$\evil$", r"a$\frac{$b", "漢字"])
def test_a_picture_has_every_name_as_it_is(
    name: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store(file, 10_000_000)) as store:
        tool = Tally({"ok": 1000})
        tool.sketch().add([0.1] * 1000)
        store.write(
            Run("shop", name, "one"), [(START + 3 * DAY, {Subject("tool", name, "x"): tool})]
        )
    picture = tmp_path / "trends.svg"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*legend")
        answered(capsys, "--plot", str(picture))
    texts = re.findall("<!-- (.*) -->", picture.read_text("utf-8"))
    assert sum(name in text for text in texts) == 4  # three legends, and the version


def test_the_work_for_a_table_of_periods_grows_as_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Slice] = []

    def counted(of: Slice, percentile: int) -> float | None:
        read.append(of)
        return milliseconds(of, percentile)

    monkeypatch.setattr(tables, "milliseconds", counted)
    tally = Tally({"ok": 100})
    tally.sketch().add([0.1] * 100)
    slices = [
        Slice(SEARCH, "shop", "1.0", "", 60.0 * number, 60.0 * (number + 1), *tally.parts())
        for number in range(300)
    ]
    found = Trends(0.0, 18_000.0, 60.0, [Trend(SEARCH, "shop", "1.0", slices)], [])
    (table,) = tables.tables(found, periods=True)
    assert [row[-2] for row in table.rows] == ["█"] * 300
    assert len(read) <= 5 * 300


def test_a_link_in_the_place_of_a_picture_is_replaced(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, picture = tmp_path / "theirs", tmp_path / "trends.svg"
    theirs.write_text("theirs")
    picture.symlink_to(theirs)
    answered(capsys, "--plot", str(picture))
    assert theirs.read_text() == "theirs"
    assert picture.read_bytes().startswith(b"<?xml")
    picture.unlink()
    os.mkfifo(picture)  # nobody reads it
    assert main(["trends", *UNTIL, "--plot", str(picture)]) == 1
    assert "is no regular file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--tool", "nope"], 1, "nothing was measured of it"),
        (["--history", "/nowhere/at.all"], 1, "there is no such file"),
        (["--history", "~nobody-of-that-name/x.db"], 1, "there is no such file"),
        (["--history", ""], 2, "no history is named"),
        (["--since", "2024-10-09"], 1, "--since is not before --until"),
        (["--since", "1990-01-01", "--step", "10s"], 1, "periods cannot be shown"),
        (["--plot", "picture.gif"], 1, "ends in .png or .svg"),
        (["--plot", "/nowhere/at/all.svg"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    file: Path,
    arguments: list[str],
    status: int,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["trends", *UNTIL, *arguments]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metertap trends: ")
    assert told in line


def test_a_history_that_begins_later_has_nothing_of_the_week_before(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trends", "--until", "2024-09-20T00:00+00:00", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["until"] - found["since"] == 7 * DAY
    assert found["tools"] == []


def test_a_wrong_time_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["trends", "--since", "yesterday"])
    assert "'yesterday' is no time such as 7d" in capsys.readouterr().err


def test_what_draws_is_loaded_by_no_other_command(file: Path) -> None:
    program = (
        "import sys; from metertap.cli import main; main(['trends']); "
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_times() -> None:
    assert times.moment("1.5h", 10_000) == 4_600
    assert times.moment("2024-10-04T00:00+00:00", 0) == START
    assert times.moment("2024-10-04", 0) == time.mktime((2024, 10, 4, 0, 0, 0, 0, 0, -1))
    assert [
        times.step_for(seconds) for seconds in (60, 3600, DAY, 7 * DAY, 30 * DAY, 400 * DAY)
    ] == [
        *(10, 120, 3600, 21_600, DAY, 30 * DAY),
    ]
    assert times.moment("1000w", DAY) == 0
    for wrong in ("", "7", "0d", "d", "-3h", "2024-13-01", "1969-01-01", f"{'9' * 400}d"):
        with pytest.raises(ValueError, match="is no time"):
            times.moment(wrong, 0)
