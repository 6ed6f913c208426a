"""Every rule in promtool: it can be loaded, it fires when it should, and is silent when it should.

The series are what metertap exposes; the cases are a table, and a rule without its two cases fails.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from metertap.alerts import thresholds
from metertap_exporters import rules
from metertap_exporters.rules.model import AlertingRule
from servers.real import program
from support.rule_cases import CASES, TABLE, Case

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def parsed() -> thresholds.Thresholds:
    return thresholds.read(TABLE)


def every_alert(parsed: thresholds.Thresholds) -> list[AlertingRule]:
    return [
        rule
        for group in rules.groups(parsed)
        for rule in group.rules
        if isinstance(rule, AlertingRule)
    ]


@pytest.mark.parametrize("table", [{}, TABLE], ids=["defaults", "exceptions"])
def test_promtool_finds_nothing_to_complain_of(table: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(rules.written(thresholds.read(table)), encoding="utf-8")
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "duplicate" not in checked.stdout


def test_every_rule_has_a_case_that_fires_and_one_that_is_silent(
    parsed: thresholds.Thresholds,
) -> None:
    expected = {(alert.name, alert.labels.get("long_window", "")) for alert in every_alert(parsed)}
    for fires in (True, False):
        shown = {
            (case.alert, case.labels.get("long_window", ""))
            for case in CASES
            if case.fires is fires
        }
        assert expected <= shown


# What looks back for days is evaluated seldom: promtool evaluates every rule each time.
@pytest.mark.parametrize(("steps", "every"), [({"1m"}, "1m"), ({"5m"}, "5m"), ({"30m"}, "30m")])
def test_rules_fire_and_are_silent_as_they_should(
    steps: set[str], every: str, parsed: thresholds.Thresholds, tmp_path: Path
) -> None:
    tests = [
        {
            "name": f"{number} {case.alert}",
            "interval": case.step,
            "input_series": [
                {"series": name, "values": values} for name, values in case.series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": f"group by (alertname) (ALERTS{{{matchers(case)}}})",
                    "eval_time": case.at,
                    "exp_samples": [
                        {"labels": f'{{alertname="{case.alert}"}}', "value": 1}
                        for _ in range(case.fires)
                    ],
                }
            ],
        }
        for number, case in enumerate(CASES)
        if case.step in steps
    ]
    checked = checked_by_promtool(tmp_path, parsed, every, tests)
    assert tests
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_people_read_what_happened(parsed: thresholds.Thresholds, tmp_path: Path) -> None:
    # promtool shows an alert's rendered texts where it did not expect the alert.
    told = [case for case in CASES if case.told]
    assert {case.alert for case in told} == {alert.name for alert in every_alert(parsed)}
    for case in told:
        one = {
            "interval": case.step,
            "input_series": [
                {"series": name, "values": values} for name, values in case.series.items()
            ],
            "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": []}],
        }
        shown = checked_by_promtool(tmp_path, parsed, case.step, [one])
        text = shown.stdout + shown.stderr
        assert case.told in text
        assert "<no value>" not in text
        assert "error expanding" not in text
        assert f'runbook_url="docs/runbooks.md#{case.alert.lower()}"' in text


def checked_by_promtool(
    folder: Path, parsed: thresholds.Thresholds, every: str, tests: list[dict[str, Any]]
) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yml").write_text(rules.written(parsed), encoding="utf-8")
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": every,
        # What is recorded is there for five minutes: at longer intervals the order matters.
        "group_eval_order": [group.name for group in rules.groups(parsed)],
        "tests": tests,
    }
    (folder / "tests.yml").write_text(json.dumps(document), encoding="utf-8")
    return promtool("test", "rules", str(folder / "tests.yml"))


def matchers(case: Case) -> str:
    wanted = {"alertname": case.alert, "alertstate": "firing", **case.labels}
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in wanted.items())


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)
