"""`metertap rules`: where thresholds come from, and what happens where they are wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import metertap
from metertap.alerts import thresholds
from metertap.alerts.definitions import ALERTS
from metertap.cli import main
from metertap_exporters import rules
from metertap_exporters.rules.model import AlertingRule

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_file_the_defaults_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    told = capsys.readouterr()
    assert told.out == rules.written(thresholds.Thresholds())
    assert told.err == ""


@pytest.mark.parametrize("way", ["pyproject.toml", "variable", "--config"])
def test_thresholds_come_from_the_configuration_file(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ("pyproject.toml" if way == "pyproject.toml" else "metertap.toml")
    file.write_text("[tool.metertap.alerts.tools.search]\nerror_rate = 0.25\n")
    if way == "variable":
        monkeypatch.setenv("METERTAP_CONFIG", str(file))
    named = ["--config", str(file)] if way == "--config" else []
    assert main(["rules", "--out", "rules.yml", *named]) == 0
    text = Path("rules.yml").read_text(encoding="utf-8")
    assert '{gen_ai_tool_name="search"} > 0.25' in text


@pytest.mark.parametrize("what", ["a pipe", "a device"])
def test_what_never_ends_is_no_configuration_file(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path("/dev/zero") if what == "a device" else tmp_path / "pipe"
    if what == "a pipe":
        os.mkfifo(place)
    monkeypatch.setenv("METERTAP_CONFIG", str(place))
    assert main(["rules"]) == 2
    assert capsys.readouterr() == ("", f"metertap rules: {place}: it is no regular file\n")


def test_each_bad_threshold_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.metertap.alerts]\nerror_rate = 5\nwindow = "x"\n'
        '[tool.metertap.alerts.tools."a\\u001b[31m"]\np95_seconds = -1\n'
    )
    assert main(["rules", "--out", "rules.yml"]) == 2
    told = capsys.readouterr()
    assert [line.partition(": ")[2].partition(" = ")[0] for line in told.err.splitlines()] == [
        "alerts.error_rate",
        "alerts.window",
        r"alerts.tools.'a\x1b[31m'.p95_seconds",
    ]
    assert all(line.startswith("metertap rules: ") for line in told.err.splitlines())
    assert told.out == ""
    assert not Path("rules.yml").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("this is no TOML", "bad.toml: "),
        ("[alerts]\nerror_rate = 0.1\nerror_rate = 0.2\n", "bad.toml: "),
        ("alerts = 5\n", "alerts = 5: a table is needed"),
        (None, "bad.toml"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    text: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "bad.toml").write_text(text)
    assert main(["rules", "--config", "bad.toml", "--out", "rules.yml"]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.err.count("\n") == 1
    assert not Path("rules.yml").exists()


def test_a_place_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--out", "no/such/folder/rules.yml"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_nobody_elses_link_is_written_to() -> None:
    mine, place = Path("mine"), Path("rules.yml")
    mine.write_text("mine")
    place.symlink_to(mine)
    assert main(["rules", "--out", "rules.yml"]) == 0
    assert mine.read_text() == "mine"
    assert "groups:" in place.read_text()


def test_the_table_is_no_unknown_setting_for_a_program_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.metertap.alerts]\nerror_rate = 0.1\n")
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "pyproject.toml"))
    with metertap.instrument():
        pass
    assert "alerts" not in caplog.text


def every_alert() -> list[AlertingRule]:
    table = {"p95_seconds": 1, "daily_budget": 5, "tools": {"search": {"no_traffic": "1h"}}}
    found = rules.groups(thresholds.read(table))
    return [rule for group in found for rule in group.rules if isinstance(rule, AlertingRule)]


def test_every_alert_has_texts_and_a_section_in_the_runbooks() -> None:
    sections = re.findall(r"^## (\w+)$", (DOCS / "runbooks.md").read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(definition.name for definition in ALERTS)
    assert {alert.name for alert in every_alert()} == set(sections)
    for alert in every_alert():
        assert alert.summary
        assert alert.description
        assert alert.severity in {"warning", "critical"}


def test_the_runbooks_address_is_configurable() -> None:
    text = rules.written(thresholds.read({"runbooks": "https://wiki.example/alerts"}))
    assert 'runbook_url: "https://wiki.example/alerts#metertaphigherrorrate"' in text


def test_every_key_and_default_is_documented() -> None:
    documented = (DOCS / "alerts.md").read_text()
    keys = {
        *thresholds.TOOL_KEYS,
        *thresholds.OWN_TOOL_KEYS,
        *thresholds.CACHE_KEYS,
        *thresholds.PROCESS_KEYS,
    }
    assert {key for key in keys if f"| `{key}` |" not in documented} == set()


def test_the_examples_in_the_documentation_are_accepted(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (DOCS / "alerts.md").read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "example.toml").write_text(example)
        assert main(["rules", "--config", "example.toml", "--out", "rules.yml"]) == 0


@pytest.mark.parametrize("name", ['a"} or vector(1) #', "a\\", "a\nb: 1", "{{ . }}", "ü😀\u2028"])
def test_a_name_never_leaves_its_quotes(name: str) -> None:
    text = rules.written(thresholds.read({"tools": {name: {"error_rate": 0.5}}}))
    plain = rules.written(thresholds.read({"tools": {"plain": {"error_rate": 0.5}}}))
    assert text.count("\n") == plain.count("\n")
    quoted = [line for line in text.splitlines() if "gen_ai_tool_name=" in line]
    assert quoted
    for line in quoted:
        strings = re.sub(r'"(?:[^"\\]|\\.)*"', "S", line)
        assert '"' not in strings
        assert line.isprintable()
