"""Costs of each day where a history is kept: the page's data, and `metertap top`."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import Tap
from metertap.cli import main
from metertap.cli.processes import Process, document_of, spending_of
from metertap.history.answers import Subject
from metertap.history.savings import after_miss
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from support.http import get
from support.waiting import today, wait_for

DAY = 86_400
SPENT = {2: 5.0, 1: 2.0}
"""USD by how many days ago."""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tap]:
    """A process of a shop that has spent on two days before, beside another service's."""
    config = tmp_path / "metertap.toml"
    config.write_text(
        "[tool.metertap.prices]\nm = { input = 1 }\n"
        "[tool.metertap.alerts]\ndaily_budget = 4\n"
        "[tool.metertap.fees]\nask = 0.5\n"
    )
    monkeypatch.setenv("METERTAP_CONFIG", str(config))
    path, now = tmp_path / "history.db", today()
    with closing(Store(path, 10_000_000)) as store:
        for service in ("shop", "other"):
            for ago, usd in SPENT.items():
                sums = {"model_calls": 10, "input_tokens": 50, "cost_usd": usd}
                looked_up = {"hits_in_calls": 3, "misses_in_calls": 6, after_miss("x", "m"): usd}
                tallies = {
                    Subject("tool", "ask", "mcp"): Tally({"ok": 4}, extra=sums | looked_up),
                    Subject("model", "m", "x"): Tally(extra=dict(sums)),
                }
                store.write(Run(service, "1", "one"), [(now - ago * DAY, tallies)])
    with metertap.instrument(history=path, service_name="shop") as tap:
        with metertap.measure_tool("ask"):
            metertap.record_usage(provider="x", model="m", input_tokens=3_000_000)
        wait_for(lambda: tap.json_url)
        tap.flush()
        yield tap


def days(tap: Tap, query: str = "") -> Any:
    return get(f"{tap.json_url}/costs.json{query}").json()


def test_the_days_of_this_service_are_served(kept: Tap) -> None:
    found = wait_for(lambda: days(kept) if len(days(kept)["days"]) == 3 else None)
    assert [day["usd"] for day in found["days"]] == [5.0, 2.0, 3.5]  # with a fee
    assert found["budget"] == {"daily": 4.0, "forecast_daily": 3.5, "over_days": 2}
    assert [day["saved_usd"] for day in found["days"]] == [2.5, 1.0, None]
    (tool,) = found["tools"]
    assert (tool["tool"], tool["usd"], tool["usd_per_ok_call"]) == ("ask", 10.5, 10.5 / 9)
    (model,) = found["models"]
    assert (model["model"], model["usd"]) == ("x/m", 10.0)
    since = days(kept, f"?since={today() - 2 * DAY}&until={today() - 1}&by=version")
    assert [day["usd"] for day in since["days"]] == [5.0, 2.0]
    assert [tool["version"] for tool in since["tools"]] == ["1"]
    assert get(f"{kept.json_url}/costs.json?since=x").status == 400


def test_without_a_history_there_are_no_days() -> None:
    with metertap.instrument() as tap:
        metertap.cache_meter("any").hit()
        answer = get(f"{wait_for(lambda: tap.json_url)}/costs.json")
    assert answer.status == 404
    assert "METERTAP_HISTORY=FILE" in answer.json()["error"]["message"]


def test_top_shows_days_where_a_history_is_kept(
    kept: Tap, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_for(lambda: len(days(kept)["days"]) == 3)
    url = str(kept.json_url)
    assert main(["top", "--once", "--interval", "0.1", url]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "forecast $3.50 a day, the mean of the last 2 whole days" in shown
    assert "budget $4.00 a day: over it on 1 days" in shown
    assert "x/m ask" in shown
    assert "$2.00 $0.50 $0.00 $1.00" in shown  # the last is what caches saved
    assert main(["top", "--json", "--interval", "0.1", url]) == 0
    (process,) = json.loads(capsys.readouterr().out)
    assert [day["usd"] for day in process["spending"]["days"]] == [5.0, 2.0, 3.5]


def test_the_live_screen_has_a_line_of_days_and_one_each_of_tools_and_models(kept: Tap) -> None:
    console = pytest.importorskip("rich.console")
    from metertap.cli.top.poller import Poller, Watched
    from metertap.cli.top.readings import Reading, Readings
    from metertap.cli.top.screen import Screen
    from metertap.cli.top.table_state import View

    wait_for(lambda: len(days(kept)["days"]) == 3)
    process = Process(str(kept.json_url), "shop")
    reading: Reading = Readings().of(document_of(process))
    poller = Poller([], 1.0)
    watched = Watched(process, time.time(), reading=reading, answered=time.time())
    poller._found["shop", None] = watched

    def drawn() -> str:
        out = io.StringIO()
        screen = Screen(poller, View()).draw(150, 60, time.time())
        console.Console(file=out, width=150).print(screen)
        return out.getvalue()

    without = drawn()
    assert "by tool: ask $3.50" in without
    assert "by model: x/m $3.00" in without
    assert "by day" not in without
    watched.reading = replace(reading, spending=spending_of(process))
    told = time.strftime("%Y-%m-%d", time.gmtime(today()))
    assert f"by day (UTC): {told} $3.50" in drawn()
    assert "$2.00 (saved $1.00)" in drawn()
    assert "forecast $3.50 a day" in drawn()
