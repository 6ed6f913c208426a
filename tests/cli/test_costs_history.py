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
from metertap.history.savings import after_miss
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


@pytest.mark.parametrize("given", ["inf", "1" + "0" * 400, "2_000_000"])
def test_a_budget_that_is_no_sum_is_none(
    given: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = file.with_name("metertap.toml")
    config.write_text(f"[tool.metertap.alerts]\ndaily_budget = {given}\n")
    assert json.loads(answered(capsys, str(file), "--json"))["budget"]["daily"] is None


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
    names = ("calls", "usd", "failed_usd")
    models = {item["model"]: tuple(item[name] for name in names) for item in found["models"]}
    assert models == {"own/m": (1, 4.5, 0), "own/unknown": (1, None, None)}
    (day,) = found["days"]
    assert (day["ok_calls"], day["usd_per_ok_call"], day["failed_usd"]) == (2, 2.25, 0)


def test_savings_are_by_day_and_a_day_of_hits_alone_takes_the_mean_of_the_whole_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, now = tmp_path / "history.db", today()
    days: dict[int, dict[str, float]] = {  # by how many days ago
        3: {
            "model_calls": 4,
            "cost_usd": 1.0,
            "hits_in_calls": 6,
            "misses_in_calls": 4,
            after_miss("x", "big"): 0.6,
            after_miss("x", "small"): 0.2,
            "all_hit_calls": 6,
            "all_hit_seconds": 0.6,
            "missed_calls": 4,
            "missed_seconds": 8,
        },
        2: {"hits_in_calls": 5, "all_hit_calls": 5, "all_hit_seconds": 1.0},
        1: {
            "model_calls": 1,
            "cost_usd": 2.0,
            "hits_in_calls": 2,
            "misses_in_calls": 1,
            after_miss("x", "big"): 2.0,
        },
        0: {"model_calls": 1, "unpriced_calls": 1, "hits_in_calls": 9, "misses_in_calls": 1},
    }
    with closing(Store(path, 10_000_000)) as store:
        for ago, sums in days.items():
            tallies = {Subject("tool", "ask", "mcp"): Tally(extra=sums)}
            store.write(Run("shop", "1", "one"), [(now - ago * DAY, tallies)])
    found = json.loads(answered(capsys, str(path), "--json"))
    # 6 × (0.6 + 0.2) / 4, then 5 × (0.8 + 2) / 6, then 2 × 2; the last day's misses have no price.
    assert [day["saved_usd"] for day in found["days"]] == pytest.approx([1.2, 14 / 6, 4, None])
    # 6 × 2 − 0.6, then 5 × 2 − 1.
    assert [day["saved_seconds"] for day in found["days"]] == pytest.approx([11.4, 9, None, None])
    assert [day["usd"] for day in found["days"]] == [1.0, 0, 2.0, None]
    (tool,) = found["tools"]
    assert tool["saved_usd"] == found["total"]["saved_usd"] == pytest.approx(1.2 + 14 / 6 + 4)
    models = {item["model"]: item["saved_usd"] for item in found["models"]}
    assert models == pytest.approx(
        {"x/big": 6 * 0.6 / 4 + 5 * 2.6 / 6 + 4, "x/small": 6 * 0.2 / 4 + 5 * 0.2 / 6}
    )
    shown = " ".join(answered(capsys, str(path)).split())
    assert "saved by caches $7.53, " in shown
    assert " $1.20 11.4 s " in shown


def test_a_day_in_the_history_saved_what_the_document_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "metertap.toml"
    config.write_text('[tool.metertap.prices]\n"own/m" = { input = 3 }\n"own/n" = { input = 1 }\n')
    monkeypatch.setenv("METERTAP_CONFIG", str(config))
    path = tmp_path / "history.db"
    with metertap.instrument(json_endpoint=False, history=str(path)) as tap:
        cache = metertap.cache_meter("answers")
        for tool, tokens in (("ask", 0), ("ask", 70), ("ask", 0), ("sum", 0), ("sum", 10)):
            with metertap.measure_tool(tool):
                if not tokens:
                    cache.hit()
                    continue
                cache.miss()
                for model in ("m", "n"):
                    metertap.record_usage(
                        provider="own", model=model, input_tokens=tokens * 1_000_000
                    )
        live: Any = tap.snapshot()["cost_metrics"]
    found = json.loads(answered(capsys, str(path), "--json"))
    (day,) = found["days"]
    assert day["saved_usd"] == live["saved_by_caches"] == 2 * 280 + 40
    saved = {item["tool"]: (item["saved_usd"], item["saved_seconds"]) for item in found["tools"]}
    for name, tool in live["tools"].items():
        assert saved[name] == (
            tool["saved_by_caches"],
            pytest.approx(tool["seconds_saved_by_caches"]),
        )
    by_model = {
        item["model"]: (item["saved_usd"], item["usd_per_ok_call"]) for item in found["models"]
    }
    assert by_model == {"own/m": (450, 120), "own/n": (150, 40)}
    assert sum(item["saved_by_caches"] for item in live["models"]) == 600
    assert {
        (item["tool"], item["model"]): item["per_successful_call"] for item in live["models"]
    } == {("ask", "m"): 210, ("ask", "n"): 70, ("sum", "m"): 30, ("sum", "n"): 10}
