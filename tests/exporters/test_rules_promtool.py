"""Every rule in promtool: it can be loaded, it fires when it should, and is silent when it should.

The series are what metertap exposes; the cases are a table, and a rule without its two cases fails.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metertap.alerts import thresholds
from metertap_exporters import rules
from metertap_exporters.rules.model import AlertingRule
from servers.real import program
from support.rule_cases import BURN, CASES, HIGH, LOW, SLOW, TABLE, WEEK, Case

pytestmark = [pytest.mark.real, pytest.mark.programs]


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
    assert checked.returncode == 0, checked.stdout
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


# promtool evaluates every rule at every step. So what looks back for days has long steps, and only
# the cases of error budgets have their rules, which are most.
WITHOUT_BUDGETS = {**TABLE, "success_objective": False}


def test_rules_without_error_budgets_are_the_same(parsed: thresholds.Thresholds) -> None:
    everything = [rule for group in rules.groups(parsed) for rule in group.rules]
    fewer = [r for group in rules.groups(thresholds.read(WITHOUT_BUDGETS)) for r in group.rules]
    assert all(rule in everything for rule in fewer)
    left_out = [rule for rule in everything if rule not in fewer]
    assert {rule.name for rule in left_out if isinstance(rule, AlertingRule)} == {BURN}


@pytest.mark.parametrize(
    ("step", "of_budgets"), sorted({(case.step, case.alert == BURN) for case in CASES})
)
def test_rules_fire_and_are_silent_as_they_should(
    step: str, of_budgets: bool, tmp_path: Path
) -> None:
    together: dict[str, Any] = {"interval": step, "input_series": [], "promql_expr_test": []}
    tests = [together]
    for number, case in enumerate(CASES):
        if (case.step, case.alert == BURN) != (step, of_budgets):
            continue
        if case.alert in OF_ONE_JOB:
            case = of_job(case, f"shop {number}")
            together["input_series"] += scraped(case)["input_series"]
            together["promql_expr_test"].append(expected(case))
        else:
            tests.append({**scraped(case), "promql_expr_test": [expected(case)]})
    checked = promtool("test", "rules", written(tmp_path, step, of_budgets, tests))
    assert checked.returncode == 0, checked.stdout


def test_people_read_what_happened(parsed: thresholds.Thresholds, tmp_path: Path) -> None:
    # promtool shows an alert's rendered texts where it did not expect the alert.
    told = [case for case in CASES if case.told]
    assert {case.alert for case in told} == {alert.name for alert in every_alert(parsed)}
    files = []
    for number, case in enumerate(told):
        none = {"eval_time": case.at, "alertname": case.alert, "exp_alerts": []}
        one = {**scraped(case), "alert_rule_test": [none]}
        files.append(written(tmp_path / str(number), case.step, case.alert == BURN, [one]))
    shown = promtool("test", "rules", *files)
    _, *texts = re.split(r"^Unit Testing: ", shown.stdout, flags=re.MULTILINE)
    assert len(texts) == len(told)
    for case, text in zip(told, texts, strict=True):
        assert case.told in text
        assert "<no value>" not in text
        assert "error expanding" not in text
        assert f'runbook_url="docs/runbooks.md#{case.alert.lower()}"' in text


# Their rules look at each job for itself, so that all cases can be scraped at once.
OF_ONE_JOB = {HIGH, SLOW, WEEK, BURN, LOW}


def of_job(case: Case, job: str) -> Case:
    series = {name.replace('job="shop"', f'job="{job}"'): it for name, it in case.series.items()}
    return replace(case, series=series, labels={**case.labels, "job": job})


def expected(case: Case) -> dict[str, Any]:
    """Whether the alert fires, as promtool reads it."""
    fires = {"labels": f'{{alertname="{case.alert}"}}', "value": 1}
    return {
        "expr": f"group by (alertname) (ALERTS{{{matchers(case)}}})",
        "eval_time": case.at,
        "exp_samples": [fires] if case.fires else [],
    }


def scraped(case: Case) -> dict[str, Any]:
    """The series of a case, as promtool reads them."""
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"interval": case.step, "input_series": series}


def written(folder: Path, every: str, of_budgets: bool, tests: list[dict[str, Any]]) -> str:
    """Write rules and tests of them into a folder: the path of the tests."""
    parsed = thresholds.read(TABLE if of_budgets else WITHOUT_BUDGETS)
    folder.mkdir(exist_ok=True)
    (folder / "rules.yml").write_text(rules.written(parsed), encoding="utf-8")
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": every,
        # What is recorded is there for five minutes: at longer intervals the order matters.
        "group_eval_order": [group.name for group in rules.groups(parsed)],
        "tests": tests,
    }
    (folder / "tests.yml").write_text(json.dumps(document), encoding="utf-8")
    return str(folder / "tests.yml")


def matchers(case: Case) -> str:
    wanted = {"alertname": case.alert, "alertstate": "firing", **case.labels}
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in wanted.items())


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it; what it says on stderr stands among its output, where it belongs."""
    return subprocess.run(
        [program("promtool"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
