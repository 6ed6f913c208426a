"""`metertap costs --history`: each day, tool, model and version, the budget and a forecast."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.cli import main
from metertap.history.answers import Subject
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from support.waiting import today

DAY = 86_400


def spent(usd: float, *, failed: float = 0, unpriced: float = 0) -> Tally:
    sums = {"model_calls": 10, "input_tokens": 1000, "output_tokens": 100, "cost_usd": usd}
    return Tally(extra={**sums, "cost_of_failed_usd": failed, "unpriced_calls": unpriced})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four whole days and today; nothing was spent on the second."""
    path, now = tmp_path / "history.db", today()
    with closing(Store(path, 10_000_000)) as store:
        for ago, usd in ((4, 1.0), (2, 5.0), (1, 2.0), (0, 0.25)):
            tallies = {
                Subject("tool", "ask", "mcp"): spent(usd, failed=usd / 4),
                Subject("model", "gpt-4o", "openai"): spent(usd),
            }
            if ago == 1:
                tallies[Subject("tool", "other", "mcp")] = spent(0, unpriced=3)
            version = "2" if ago < 2 else "1"
            store.write(Run("shop", version, "one"), [(now - ago * DAY, tallies)])
    config = tmp_path / "metertap.toml"
    config.write_text("[tool.metertap.alerts]\ndaily_budget = 4\n")
    monkeypatch.setenv("METERTAP_CONFIG", str(config))
    return path


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["costs", "--history", *arguments]) == 0
    return capsys.readouterr().out


def test_each_day_the_budget_and_a_forecast_from_whole_days(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = answered(capsys, str(file))
    assert "spent $8.25 in 4 days with costs" in shown
    assert "forecast $2.00 a day, the mean of the last 4 whole days" in " ".join(shown.split())
    assert "budget $4.00 a day: over it on 1 days" in " ".join(shown.split())
    found = json.loads(answered(capsys, str(file), "--json"))
    assert [day["usd"] for day in found["days"]] == [1.0, 5.0, 2.0, 0.25]
    assert found["budget"] == {"daily": 4.0, "forecast_daily": 2.0, "over_days": 4}
    assert found["total"]["usd"] == 8.25
    assert found["total"]["failed_usd"] == 8.25 / 4
    assert found["total"]["unpriced"] == 3
    tools = {item["tool"]: item["usd"] for item in found["tools"]}
    assert tools == {"ask": 8.25, "other": 0}
    assert [(item["model"], item["usd"]) for item in found["models"]] == [("openai/gpt-4o", 8.25)]


def test_versions_and_a_shorter_time(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(answered(capsys, str(file), "--by", "version", "--json"))
    assert {item["version"]: item["usd"] for item in found["models"]} == {"1": 6.0, "2": 2.25}
    found = json.loads(answered(capsys, str(file), "--since", "1d", "--json"))
    assert [day["usd"] for day in found["days"]] == [2.0, 0.25]


def test_a_history_without_model_calls_or_none_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.db"
    with closing(Store(path, 10_000_000)) as store:
        tallies = {Subject("tool", "ask", "mcp"): Tally({"ok": 1})}
        store.write(Run("shop", "1", "one"), [(today(), tallies)])
    assert main(["costs", "--history", str(path)]) == 1
    assert main(["costs", "--history", str(tmp_path / "none.db")]) == 1
    said = capsys.readouterr().err
    assert "no model was called in this time" in said
    assert "there is no such file" in said


def test_what_a_process_spends_is_in_its_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "metertap.toml"
    config.write_text('[tool.metertap.prices]\n"own/m" = { input = 3, output = 15 }\n')
    monkeypatch.setenv("METERTAP_CONFIG", str(config))
    path = tmp_path / "history.db"
    with metertap.instrument(json_endpoint=False, history=str(path)):
        for name in ("m", "unknown"):
            with metertap.measure_tool("ask"):
                metertap.record_usage(
                    provider="own", model=name, input_tokens=1_000_000, output_tokens=100_000
                )
    found: Any = json.loads(answered(capsys, str(path), "--json"))
    assert [(item["tool"], item["usd"], item["unpriced"]) for item in found["tools"]] == [
        ("ask", 4.5, 1)
    ]
    models = {item["model"]: (item["calls"], item["usd"]) for item in found["models"]}
    assert models == {"own/m": (1, 4.5), "own/unknown": (1, None)}
    (day,) = found["days"]
    assert (day["ok_calls"], day["usd_per_ok_call"], day["failed_usd"]) == (2, 2.25, 0)
