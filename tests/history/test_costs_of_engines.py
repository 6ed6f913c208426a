"""Costs by day, tool, model and version: the same of a file and of engines that speak PromQL."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from metertap import promql
from metertap.cli import main
from metertap.history.answers import Subject
from metertap.history.savings import after_miss
from metertap.history.store import Run, Store
from metertap.history.tally import Tally, add_to
from servers.real_servers import prometheus_of, victoria_metrics
from support.http import get
from support.waiting import wait_for

pytestmark = pytest.mark.real

DAY, STEP = 86_400, 30
MIDNIGHT = int(time.time() // DAY * DAY) - DAY
START, NEXT, END = MIDNIGHT - 3600, MIDNIGHT + 1800, MIDNIGHT + 3600
"""An hour on each side of a midnight (UTC); the second version begins after half of the second."""


class Asking(NamedTuple):
    """A tool that asks a model once in each step: what one call costs, and what failed calls do."""

    tool: str
    provider: str
    model: str
    usd: float | None
    failed: float
    """The share of calls of the tool that fail after they have asked."""
    tokens: tuple[int, int]
    """Of input and output."""
    hits: int = 0
    """Lookups that hit, for each one that missed before the model was asked."""


ALL = (
    Asking("search", "openai", "gpt", 0.01, 0.25, (1000, 100), 3),
    Asking("draft", "anthropic", "claude", 0.04, 0, (2000, 300)),
    Asking("none", "openai", "own", None, 0, (10, 10)),
)
COSTS: dict[str, Callable[[Asking], float]] = {
    promql.COST: lambda one: 1,
    promql.FAILED_COST: lambda one: one.failed,
    promql.MISS_COST: lambda one: min(one.hits, 1),
}
"""The share of what a call costs that is in each counter of costs."""
LOOKUPS: dict[str, tuple[float, float]] = {
    promql.CACHE_REQUESTS: (1, 1),
    promql.LOOKUP_CALLS: (1, 1),
    promql.LOOKUP_TIME: (0.01, 2.0),
}
"""What each lookup that hit, and each that missed, adds to each counter of lookups."""
FEE = 0.002
"""USD of each call of `search`, beside what its model costs."""


def version(at: float) -> str:
    return "1" if at < NEXT else "2"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("costs") / "history.db"
    found: dict[tuple[str, int], dict[Subject, Tally]] = {}
    for at in range(START, END, STEP):
        tallies = found.setdefault((version(at), at // 600 * 600), {})
        for one in ALL:
            fee = FEE if one.tool == "search" else 0.0
            sums = {
                "model_calls": 1,
                "input_tokens": one.tokens[0],
                "output_tokens": one.tokens[1],
                "cost_usd": one.usd or 0.0,
                "cost_of_failed_usd": one.failed * (one.usd or 0.0),
                "unpriced_calls": int(one.usd is None),
            }
            tool = tallies.setdefault(Subject("tool", one.tool, "mcp"), Tally())
            model = tallies.setdefault(Subject("model", one.model, one.provider), Tally())
            add_to(model.extra, sums)
            add_to(tool.extra, sums)
            add_to(tool.extra, {"cost_usd": fee, "cost_of_failed_usd": one.failed * fee})
            if one.hits:
                add_to(tool.extra, {"hits_in_calls": one.hits, "misses_in_calls": 1})
                add_to(tool.extra, {"all_hit_calls": one.hits, "all_hit_seconds": one.hits * 0.01})
                add_to(tool.extra, {"missed_calls": 1, "missed_seconds": 2.0})
                add_to(tool.extra, {after_miss(one.provider, one.model): one.usd or 0.0})
            if one.tool != "none":
                add_to(tool.outcomes, {"ok": 1})
    with closing(Store(path, 50_000_000)) as store:
        for (of, start), tallies in found.items():
            for tally in tallies.values():
                if "ok" in tally.outcomes:
                    tally.sketch().add([0.1] * tally.outcomes["ok"])
            store.write(Run("shop", of, of), [(start, tallies)])
    return str(path)


def lines() -> Iterator[str]:
    """The same, as an engine would have scraped it at each step from both versions."""
    histograms = (promql.DURATION, promql.MODEL_DURATION, promql.TOKENS)
    kinds = {"target": "info"}
    kinds |= dict.fromkeys((*COSTS, *LOOKUPS), "counter")
    kinds |= dict.fromkeys(histograms, "histogram")
    for metric, kind in kinds.items():
        yield f"# TYPE {metric.removesuffix('_total')} {kind}"
        for of, first, end in (("1", START, NEXT), ("2", NEXT, END)):
            target = f'job="shop",instance="{of}"'
            if kind == "info":
                told = f'{target},service_name="shop",service_version="{of}"'
                yield from (f"target_info{{{told}}} 1 {at}" for at in range(first, end, STEP))
                continue
            for labels, value in series(metric):
                # A client's histogram has no name of a tool where none asked.
                named = f"{target},{labels}".replace('gen_ai_tool_name="none",', "")
                for suffix, more in value if isinstance(value, tuple) else (("", value),):
                    bounds = ("0.16", "+Inf") if suffix == "_bucket" else ("",)
                    for bound in bounds:
                        made = named + (f',le="{bound}"' if bound else "")
                        for number, at in enumerate(range(first, end + STEP, STEP)):
                            yield f"{metric}{suffix}{{{made}}} {number * more:.9g} {at}"
    yield "# EOF"


def series(metric: str) -> Iterator[tuple[str, Any]]:
    """Labels, and how much each series of a metric grows in a step."""
    for one in ALL:
        of = f'gen_ai_tool_name="{one.tool}",gen_ai_provider_name="{one.provider}"'
        model = f'{of},gen_ai_response_model="{one.model}"'
        fee = f'gen_ai_tool_name="{one.tool}",gen_ai_provider_name="fee"'
        if metric in COSTS:
            share = COSTS[metric](one)
            if one.usd is not None:
                yield model, one.usd * share
            if one.tool == "search" and metric != promql.MISS_COST:
                yield fee, FEE * share
        elif metric in LOOKUPS:
            of_hit, of_miss = LOOKUPS[metric]
            found = (("hit", one.hits * of_hit), ("miss", of_miss)) if one.hits else ()
            for kind, value in found:
                yield f'gen_ai_tool_name="{one.tool}",cache_request_type="{kind}"', value
        elif metric == promql.TOKENS:
            for kind, tokens in zip(("input", "output"), one.tokens, strict=True):
                yield f'{model},gen_ai_token_type="{kind}"', histogram(tokens)
        elif metric == promql.MODEL_DURATION:
            yield model, histogram(0.1)
        elif one.tool != "none":
            told = f'gen_ai_tool_name="{one.tool}",metertap_outcome="ok"'
            yield told, histogram(0.1)


def histogram(value: float) -> tuple[tuple[str, float], ...]:
    return (("_bucket", 1), ("_count", 1), ("_sum", value))


@pytest.fixture(scope="module", params=["Prometheus", "VictoriaMetrics"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("engine") / "data"
    if request.param == "Prometheus":
        with prometheus_of(folder, "\n".join([*lines(), ""])) as store:
            yield store.url
        return
    with victoria_metrics(folder) as store:
        body = "\n".join(line + "000" for line in lines() if not line.startswith("#"))
        urllib.request.urlopen(f"{store.url}/api/v1/import/prometheus", body.encode()).close()
        wait_for(lambda: get(f"{store.url}/internal/force_flush").status == 200)
        wait_for(lambda: store.query(f"count(last_over_time({promql.COST}[3d]))"))
        yield store.url


def costs(capsys: pytest.CaptureFixture[str], history: str, *more: str) -> Any:
    assert main(["costs", "--history", history, "--since", "4d", "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def by(names: tuple[str, ...], rows: list[Any]) -> dict[tuple[str, ...], Any]:
    return {tuple(row[name] for name in names): row for row in rows}


@pytest.mark.parametrize("more", [(), ("--by", "version"), ("--service", "shop")])
def test_an_engine_tells_the_costs_that_the_file_tells(
    engine: str, file: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    right, found = costs(capsys, file, *more), costs(capsys, engine, *more)
    calls = (END - START) // STEP
    assert right["total"]["usd"] == pytest.approx(calls * (0.01 + 0.04 + FEE))
    assert right["total"]["saved_usd"] == pytest.approx(calls * 3 * 0.01)
    assert right["total"]["saved_seconds"] == pytest.approx(calls * 3 * 1.99)
    for section, names in (
        ("days", ("day",)),
        ("tools", ("tool", "version")),
        ("models", ("model", "version")),
    ):
        expected, told = by(names, right[section]), by(names, found[section])
        assert told.keys() == expected.keys()
        for key, row in expected.items():
            for name, value in row.items():
                is_number = isinstance(value, int | float)
                same = pytest.approx(value, rel=0.03) if is_number else value
                assert told[key][name] == same, (section, key, name)
    assert found["budget"]["over_days"] == right["budget"]["over_days"]
    assert found["budget"]["forecast_daily"] == pytest.approx(
        right["budget"]["forecast_daily"], rel=0.03
    )
    assert {row["model"]: row["usd"] is None for row in found["models"]} == {
        "openai/gpt": False,
        "anthropic/claude": False,
        "openai/own": True,
    }


def test_of_another_service_there_is_nothing(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["costs", "--history", engine, "--since", "4d", "--service", "other"]) == 1
    assert "no model was called" in capsys.readouterr().err
