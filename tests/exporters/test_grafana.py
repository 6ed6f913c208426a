"""The dashboards that are kept in the repository are those that are defined, and well-formed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metertap import catalogue, promql
from metertap.catalogue import Metric
from metertap.cli import main
from metertap.promql import label

dashboard_model = pytest.importorskip(
    "grafana_foundation_sdk.models.dashboard", reason="the dashboards are built with it"
)
from metertap_exporters import grafana  # noqa: E402

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "dashboards" / "provisioning" / "dashboards" / "metertap"
PROMETHEUS = "http://localhost:9090"


def boards() -> dict[str, dict[str, Any]]:
    return {
        name: json.loads(text)
        for name, text in grafana.files(PROMETHEUS).items()
        if name.endswith(".json")
    }


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_kept_files_are_byte_for_byte_what_is_defined(seed: str) -> None:
    write = "import json; from dashboards.boards import texts; print(json.dumps(texts()))"
    written = subprocess.run(
        [sys.executable, "-c", write],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
        capture_output=True,
    )
    kept = {path.name: path.read_text(encoding="utf-8") for path in KEPT.glob("*.json")}
    assert json.loads(written.stdout) == kept, "python -m dashboards.boards"


def test_there_is_a_dashboard_of_tools_one_tool_caches_and_costs() -> None:
    assert {board["uid"] for board in boards().values()} == {
        "metertap-tools",
        "metertap-tool",
        "metertap-caches",
        "metertap-costs",
    }


def test_every_query_asks_for_a_metric_that_metertap_publishes() -> None:
    """A dashboard of figures that nothing records would only be empty panels."""
    published = [
        catalogue.LATENCY_SUMMARY,
        catalogue.LATENCY_MAX,
        catalogue.HIT_RATIO,
        *(label(item.name) for item in vars(catalogue).values() if isinstance(item, Metric)),
    ]
    for board in boards().values():
        for panel in panels(board):
            for target in panel["targets"]:
                metrics = re.findall(r"(\w*){job=~", target["expr"])
                assert metrics
                for metric in metrics:
                    # The only query without a name finds whatever is past a limit.
                    is_overflow = not metric and "otel_metric_overflow" in target["expr"]
                    assert is_overflow or metric.startswith(tuple(published)), metric


def test_estimates_are_held_down_to_the_longest_call_and_marked() -> None:
    for board in boards().values():
        for panel in panels(board):
            for target in panel["targets"]:
                if "histogram_quantile" not in target["expr"]:
                    continue
                assert "≈" in panel["description"] or "≈" in panel["title"]
                if promql.DURATION in target["expr"]:
                    assert f"max_over_time({catalogue.LATENCY_MAX}" in target["expr"]


@pytest.mark.parametrize("name", boards())
def test_a_dashboard_loads_back_as_what_was_written(name: str) -> None:
    board = boards()[name]
    again = json.loads(json.dumps(dashboard_model.Dashboard.from_json(board), default=_json))
    assert again == board


def _json(value: Any) -> Any:
    return value.to_json()


@pytest.mark.parametrize("name", boards())
def test_panels_are_told_apart_explained_and_side_by_side(name: str) -> None:
    board = boards()[name]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({panel["title"] for panel in panels(board)}) == len(panels(board))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    heights: dict[int, set[int]] = {}
    for panel in board["panels"]:
        heights.setdefault(panel["gridPos"]["y"], set()).add(panel["gridPos"]["h"])
    assert all(len(of_a_line) == 1 for of_a_line in heights.values())
    for panel in panels(board):
        assert panel["description"], panel["title"]
        queries = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(item == {"type": "prometheus", "uid": "${datasource}"} for item in queries)


@pytest.mark.parametrize("name", boards())
def test_no_figure_has_thresholds_of_grafanas_own_and_what_should_not_be_is_red(name: str) -> None:
    for panel in panels(boards()[name]):
        if panel["type"] == "stat":
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            colours = [(step["value"], step["color"]) for step in steps]
            expected = {
                "Success rate": [(None, "red"), (0.95, "green")],
                "Hit ratio": [(None, "red"), (0.1, "green")],
                "Faults": [(None, "green"), (0.5, "red")],
                "Series past a limit": [(None, "green"), (0.5, "red")],
            }
            assert colours == expected.get(panel["title"], [(None, "green")]), panel["title"]
            is_coloured = panel["options"]["colorMode"] == "value"
            assert is_coloured == (panel["title"] in expected), panel["title"]


@pytest.mark.parametrize("name", boards())
def test_legends_have_the_highest_at_the_top(name: str) -> None:
    for panel in panels(boards()[name]):
        if panel["type"] == "timeseries":
            legend = panel["options"]["legend"]
            assert (legend["sortBy"], legend["sortDesc"]) == ("Last *", True)


@pytest.mark.parametrize("name", boards())
def test_every_query_looks_at_the_processes_that_were_chosen(name: str) -> None:
    board = boards()[name]
    for panel in panels(board):
        for target in panel["targets"]:
            selectors = target["expr"].count("{")
            assert selectors == target["expr"].count('{job=~"$job", instance=~"$instance"') > 0
    variables = [variable["name"] for variable in board["templating"]["list"]]
    assert variables[:4] == ["datasource", "service", "job", "instance"]
    assert "tool" in variables


def test_exact_percentiles_are_shown_for_each_instance_and_never_aggregated() -> None:
    found = [
        (panel, target)
        for board in boards().values()
        for panel in panels(board)
        for target in panel["targets"]
        if catalogue.LATENCY_SUMMARY in target["expr"]
    ]
    assert len(found) == 4
    for panel, target in found:
        assert target["expr"].startswith(f"{catalogue.LATENCY_SUMMARY}{{")
        assert target["expr"].endswith('"}')
        assert "exact, do not aggregate" in panel["title"]
        assert "{{instance}}" in target["legendFormat"]


def test_provisioning_names_the_folder_that_holds_the_dashboards() -> None:
    files = grafana.files("http://prometheus:9090/$x")
    assert (
        "path: /etc/grafana/provisioning/dashboards/metertap" in files["dashboards/metertap.yaml"]
    )
    assert {name.rpartition("/")[0] for name in files if name.endswith(".json")} == {
        "dashboards/metertap"
    }
    # Grafana takes $ for the beginning of a variable's name.
    assert 'url: "http://prometheus:9090/$$x"' in files["datasources/metertap.yaml"]


def test_a_folder_that_cannot_be_written_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["dashboards", "--out", str(tmp_path / "file")]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("metertap dashboards: ")
    assert told.err.count("\n") == 1
    assert told.out == ""
