"""`python -m benchmarks --compare`: tells what became worse. What it compares is not measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.measuring import Ratio, Result

from benchmarks import __main__ as command
from benchmarks import comparing, gathering, known, summary
from support.programs import Ended, run

pytestmark = pytest.mark.programs

CLONE = Path(__file__).parents[2]


def benchmarks(*arguments: object) -> Ended:
    return run(sys.executable, "-m", "benchmarks", *map(str, arguments), cwd=CLONE)


def row(name: str, median: float, low: float | None = None) -> dict[str, Any]:
    """A row whose quartiles are a tenth to either side, as `--json` writes it."""
    low = median * 0.9 if low is None else low
    ratio = {"median": median, "low": low, "high": median * 1.1}
    rest = {"limit": None, "seconds": 1e-6}
    return {"row": name, "against": "the SDK", "ratio": ratio, **rest}


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return kept(tmp_path / "before.json", row("calls", 1.0), row("lookups", 2.0))


def kept(file: Path, *rows: dict[str, Any]) -> Path:
    file.write_text(json.dumps({"python": "3", "results": rows}))
    return file


def comparison(ended: Ended) -> list[str]:
    """What stands below the table and its count."""
    _, _, below = ended.stdout.decode().partition("within their limits\n")
    return [line for line in below.splitlines() if line]


def test_a_row_that_became_worse_is_named_and_the_status_is_1(before: Path, tmp_path: Path) -> None:
    now = kept(tmp_path / "now.json", row("calls", 1.5), row("lookups", 2.0))
    ended = benchmarks("--from", now, "--compare", before)
    assert (ended.status, ended.told) == (1, "")
    assert comparison(ended) == [
        "Worse than the baseline:",
        "calls / the SDK: 1.000 before, 1.500 now",
    ]


def test_the_same_figures_are_no_regression(before: Path) -> None:
    ended = benchmarks("--from", before, "--compare", before)
    assert (ended.status, ended.told, comparison(ended)) == (0, "", ["No regression."])


def test_a_row_is_worse_when_its_lower_quartile_is_beyond_the_slack(
    before: Path, tmp_path: Path
) -> None:
    noisy = kept(tmp_path / "noisy.json", row("calls", 1.5, low=1.24), row("lookups", 2.0))
    assert benchmarks("--from", noisy, "--compare", before).status == 0
    assert benchmarks("--from", noisy, "--compare", before, "--slack", "0.2").status == 1


def test_a_negative_row_is_no_worse_than_itself(tmp_path: Path) -> None:
    nothing = kept(tmp_path / "nothing.json", row("switched off", -0.004))
    more = kept(tmp_path / "more.json", row("switched off", -0.002))
    assert benchmarks("--from", nothing, "--compare", nothing).status == 0
    assert benchmarks("--from", more, "--compare", nothing).status == 1


def test_a_row_whose_bounds_lie_above_it_is_no_worse_than_itself(tmp_path: Path) -> None:
    low = kept(tmp_path / "low.json", row("calls", 1.0, low=1.5))
    assert benchmarks("--from", low, "--compare", low).status == 0


def test_a_row_says_that_it_misses_its_limit_and_by_how_much_that_is_known(tmp_path: Path) -> None:
    over = {**row("calls", 0.5), "limit": 0.4}
    name, miss = next(iter(known.MISSES.items()))
    short, _, against = name.partition(" / ")
    within = {**row(short, 0.5), "against": against, "limit": 0.4}
    ended = benchmarks("--from", kept(tmp_path / "now.json", over, within))
    lines = ended.stdout.decode().splitlines()
    assert lines[1].endswith("  missed")
    assert lines[2].endswith(f"  missed (known: up to {miss.at_most:g}, {miss.why})")
    assert "0 of 2 within their limits" in lines


def test_a_group_that_ends_with_an_error_is_named_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CLONE)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "broken", "weight", "--rounds=1"])
    monkeypatch.setitem(command.GROUPS, "broken", "which:no process of its own knows")
    assert command.main() == 1
    table, _, below = capfd.readouterr().out.partition("within their limits\n")
    assert "weighing a text of 10 kB" in table
    assert below.splitlines()[-2:] == ["Ended with an error, which stands above:", "broken"]


def test_rows_of_one_side_alone_are_told_and_are_no_regression(
    before: Path, tmp_path: Path
) -> None:
    now = kept(tmp_path / "now.json", row("calls", 1.0), row("start", 9.0))
    ended = benchmarks("--from", now, "--compare", before)
    assert (ended.status, ended.told) == (0, "")
    assert comparison(ended) == [
        "No regression.",
        "Not in the baseline:",
        "start / the SDK",
        "In the baseline alone:",
        "lookups / the SDK",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"results": 7}',
        '{"results": [{"row": "calls"}]}',
        json.dumps({"results": [{**row("calls", 1.0), "ratio": {"median": "fast"}}]}),
        json.dumps({"results": [{**row("calls", 1.0), "ratio": 1.0}]}),
    ],
)
@pytest.mark.parametrize("side", ["--from", "--compare"])
def test_a_file_that_holds_no_results_is_a_wrong_command_line(
    before: Path, tmp_path: Path, text: str, side: str
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text)
    files = {"--from": before, "--compare": before, side: wrong}
    ended = benchmarks(*(word for pair in files.items() for word in pair))
    assert (ended.status, ended.stdout) == (2, b"")
    assert f"{wrong} holds no results that --json wrote" in ended.told.splitlines()[-1]


def test_a_file_that_is_not_there_is_one_too(before: Path, tmp_path: Path) -> None:
    # Before anything is measured: nothing to compare to would be found out minutes later.
    ended = benchmarks("--compare", tmp_path / "absent.json")
    assert (ended.status, ended.stdout) == (2, b"")
    assert "absent.json cannot be read: No such file" in ended.told.splitlines()[-1]


def test_what_is_kept_again_is_the_same(before: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    assert benchmarks("--from", before, "--json", again).status == 0
    assert json.loads(again.read_text())["results"] == json.loads(before.read_text())["results"]


def test_the_stored_baseline_can_be_compared_to() -> None:
    ended = benchmarks("--from", CLONE / "benchmarks" / "baseline.json", "--compare")
    assert (ended.status, comparison(ended)) == (0, ["No regression."])


def test_the_cost_in_short_is_that_of_the_stored_run() -> None:
    file = CLONE / "benchmarks" / "baseline.json"
    lines = summary.lines(comparing.kept(file))
    assert benchmarks("--from", file, "--summary").stdout.decode().splitlines() == lines
    assert lines
    for said in (CLONE / "README.md", CLONE / "docs" / "performance.md"):
        text = said.read_text(encoding="utf-8").splitlines()
        told = [line for line in text if line.startswith(summary.BEGINNINGS)]
        assert set(told) <= set(lines), said.name


def test_every_group_is_on_the_page_about_costs() -> None:
    page = (CLONE / "docs" / "performance.md").read_text(encoding="utf-8")
    assert [group for group in command.GROUPS if f"`{group}`" not in page] == []


@pytest.mark.parametrize(
    ("bounds", "shown"), [((0.01, 0.02), "1.0 to 2.0 %"), ((0.0151, 0.03), "1.2 to 3.0 %")]
)
def test_a_line_has_the_figures_of_its_row(bounds: tuple[float, float], shown: str) -> None:
    name = "MCP 2.x tools/call, MCPServer / CPU of the call"
    row, _, against = name.partition(" / ")
    found = [Result(row, against, Ratio(0.0123, *bounds), 0.02, 4.2e-6), missed(1)]
    [line] = summary.lines(found)
    assert shown in line
    name = "cachetools lookup, patched / wrapt that does nothing"
    row, _, against = name.partition(" / ")
    [line] = summary.lines([Result(row, against, Ratio(0.426, *bounds), 1.6, 1.7e-7)])
    assert "0.17 µs, 0.43 ×" in line


def missed(median: float) -> Result:
    """A row of the table of known misses."""
    row, _, against = next(iter(known.MISSES)).partition(" / ")
    return Result(row, against, Ratio(median, median, median), 0.5, 1e-6)


def test_a_row_that_misses_its_limit_is_known_up_to_what_is_said_of_it() -> None:
    at_most = next(iter(known.MISSES.values())).at_most
    assert known.is_known(missed(at_most))
    assert not known.is_known(missed(at_most * 1.1))
    assert known.MISSES[known.name_of(missed(1.0))].why in known.told(missed(1.0))
    stranger = Result("a row", "another", Ratio(2.0, 2.0, 2.0), 1.0, 1e-6)
    assert not known.is_known(stranger)
    assert known.told(stranger) == ""


def test_a_miss_that_is_not_known_is_the_status_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Result] = []
    monkeypatch.setattr(command, "_measured", lambda *_: iter(rows))
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    rows[:] = [missed(1.0)]
    assert command.main() == 0
    rows[:] = [Result("a row", "another", Ratio(2.0, 2.0, 2.0), 1.0, 1e-6)]
    assert command.main() == 1


def test_what_other_libraries_take_is_measured_where_they_are_installed() -> None:
    ended = benchmarks("peers", "--rounds", "1")
    assert (ended.status, ended.told) == (0, "")
    rows = ended.stdout.decode()
    assert "prometheus_client's decorator" in rows
    assert ("statsd's decorator" in rows) == (importlib.util.find_spec("statsd") is not None)


def test_a_look_at_several_workers_is_taken_apart() -> None:
    one, several = gathering.measured(looks=3, window=30)
    assert [*one] == ["figures", "text"]
    assert {"to read three answers", "to merge", "text"} < several.keys()
    assert min(*one.values(), *several.values()) > 0
