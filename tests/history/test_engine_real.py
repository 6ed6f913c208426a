"""The same questions to a file, to a Prometheus and to a VictoriaMetrics: the same answers."""

from __future__ import annotations

import json
import math
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import pytest
from benchmarks.native_histograms import histogram, value, written
from dashboards.boards.queries import quantile_of_calls

from metertap import catalogue, promql
from metertap.alerts.thresholds import Thresholds
from metertap.cli import main
from metertap.cli.credentials import Credentials
from metertap.cli.engines import open_history
from metertap.history.answers import Answers, Slice, Subject
from metertap.history.sketch import merged
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from metertap_exporters.rules.recording import names, of_tools
from servers.real_servers import prometheus, prometheus_of, victoria_metrics
from support.http import get
from support.waiting import wait_for

pytestmark = pytest.mark.real

MINUTES, CALLS = 20, 50
START = time.time() // 3600 * 3600 - 7200
"""Two hours ago: a version for twenty minutes, and another for twenty more."""
END = START + 2 * MINUTES * 60
TOOLS = {"search": (0.04, 0.06), "order": (0.3, 0.3)}
PRICES = Subject("cache", "prices", "cachetools")
DURATION = "gen_ai_execute_tool_duration_seconds"


@pytest.fixture(scope="module")
def minutes() -> list[tuple[str, dict[Subject, Tally], dict[str, list[float]]]]:
    """What was measured in each minute, as the file takes it, and the latencies of each tool."""
    chance = random.Random(4)
    made = []
    for minute in range(2 * MINUTES):
        tallies: dict[Subject, Tally] = {PRICES: Tally(hits=36, misses=12)}
        latencies = {}
        for name, both in TOOLS.items():
            middle = math.log(both[minute // MINUTES])
            values = [chance.lognormvariate(middle, 0.3) for _ in range(CALLS)]
            tally = Tally({"ok": CALLS - 5, "tool_error": 5}, {"ValueError": 5})
            tally.sketch().add(values)
            tallies[Subject("tool", name, "mcp")] = tally
            latencies[name] = values
        made.append((f"1.{minute // MINUTES}", tallies, latencies))
    return made


@pytest.fixture(scope="module")
def openmetrics(minutes: list[Any]) -> str:
    """The same, as a Prometheus would have scraped it each 15 s from both versions."""
    bounds = [*catalogue.TOOL_DURATION.buckets, math.inf]
    lines: dict[str, list[str]] = {"target": [], DURATION: [], "cache_requests": []}
    for version in ("1.0", "1.1"):
        target = f'job="shop",instance="{version}"'
        values: dict[tuple[str, str], list[float]] = {}
        lookups = {"hit": 0, "miss": 0}
        for at, (of, _, latencies) in enumerate(minutes):
            if of != version:
                continue
            for quarter in range(5 if at % MINUTES == MINUTES - 1 else 4):
                stamp = START + at * 60 + quarter * 15
                info = f'service_name="shop",service_version="{version}"'
                lines["target"].append(f"target_info{{{target},{info}}} 1 {stamp}")
                for (name, outcome), known in sorted(values.items()):
                    told = f'{target},gen_ai_tool_name="{name}",metertap_outcome="{outcome}"'
                    told += ',error_type="ValueError"' if outcome == "tool_error" else ""
                    for bound in bounds:
                        count = sum(value <= bound for value in known)
                        le = "+Inf" if math.isinf(bound) else f"{bound:g}"
                        lines[DURATION].append(
                            f'{DURATION}_bucket{{{told},le="{le}"}} {count} {stamp}'
                        )
                    lines[DURATION].append(f"{DURATION}_count{{{told}}} {len(known)} {stamp}")
                for kind, count in lookups.items():
                    told = f'{target},cache_name="prices",cache_system="cachetools"'
                    told += f',cache_request_type="{kind}"'
                    lines["cache_requests"].append(
                        f"cache_requests_total{{{told}}} {count} {stamp}"
                    )
                for name, seconds, outcome in _new(latencies, at, quarter):
                    values.setdefault((name, outcome), []).append(seconds)
                if quarter < 4:
                    lookups = {"hit": lookups["hit"] + 9, "miss": lookups["miss"] + 3}
    kinds = {"target": "info", DURATION: "histogram", "cache_requests": "counter"}
    made = []
    for name, kind in kinds.items():
        made += [f"# TYPE {name} {kind}", *sorted(lines[name], key=_series)]
    return "\n".join([*made, "# EOF", ""])


def _new(
    latencies: dict[str, list[float]], minute: int, quarter: int
) -> Iterator[tuple[str, float, str]]:
    """The calls of a quarter of a minute: tool, seconds and outcome."""
    for name, values in latencies.items():
        for number, seconds in enumerate(values):
            if (number + minute) % 4 == quarter:
                yield name, seconds, "tool_error" if number < 5 else "ok"


def _series(line: str) -> str:
    return line.rpartition("}")[0]


@pytest.fixture(scope="module")
def file(minutes: list[Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("history") / "history.db"
    with closing(Store(path, 50_000_000)) as store:
        for at, (version, tallies, _) in enumerate(minutes):
            store.write(Run("shop", version, version), [(int(START) + at * 60, tallies)])
    return str(path)


def native(minutes: list[Any]) -> Iterator[list[tuple[dict[str, str], bytes]]]:
    """The same as native histograms: what is written at each moment, in order of time."""
    target: dict[str, str] = {}
    for at, (version, _, latencies) in enumerate(minutes):
        if at % MINUTES == 0:
            target = {"job": "shop", "instance": version}
            held: dict[tuple[str, str], Counter[int]] = {}
            lookups = Counter({"hit": 0, "miss": 0})
        for quarter in range(5 if at % MINUTES == MINUTES - 1 else 4):
            stamp = int(START + at * 60 + quarter * 15) * 1000
            info = {"service_name": "shop", "service_version": version}
            written: list[tuple[dict[str, str], bytes]] = [
                ({"__name__": "target_info", **target, **info}, value(1.0, stamp))
            ]
            for (name, outcome), found in held.items():
                labels = {"__name__": DURATION, "gen_ai_tool_name": name, **target}
                labels |= {"metertap_outcome": outcome}
                if outcome == "tool_error":
                    labels["error_type"] = "ValueError"
                low, high = min(found), max(found)
                counts = [found[index] for index in range(low, high + 1)]
                written.append((labels, histogram(sum(counts), 0.0, 6, low, counts, stamp)))
            for kind, count in lookups.items():
                labels = {"__name__": "cache_requests_total", **target, "cache_name": "prices"}
                labels |= {"cache_system": "cachetools", "cache_request_type": kind}
                written.append((labels, value(count, stamp)))
            yield written
            for name, seconds, outcome in _new(latencies, at, quarter):
                index = math.ceil(math.log2(seconds) * 64) - 1
                held.setdefault((name, outcome), Counter())[index] += 1
            if quarter < 4:
                lookups.update({"hit": 9, "miss": 3})


@pytest.fixture(scope="module", params=["Prometheus", "native histograms", "VictoriaMetrics"])
def engine(
    request: pytest.FixtureRequest,
    minutes: list[Any],
    openmetrics: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("engine") / "data"
    if request.param == "native histograms":
        with prometheus(folder, takes_native=True) as store:
            for samples in native(minutes):
                written(store.url, samples)
            yield store.url
        return
    if request.param == "Prometheus":
        with prometheus_of(folder, openmetrics) as store:
            yield store.url
        return
    with victoria_metrics(folder) as store:
        # Its times are in milliseconds.
        lines = [
            f"{line.rpartition(' ')[0]} {float(line.rpartition(' ')[2]) * 1000:.0f}"
            for line in openmetrics.splitlines()
            if not line.startswith("#")
        ]
        body = "\n".join(lines).encode()
        urllib.request.urlopen(f"{store.url}/api/v1/import/prometheus", body).close()
        wait_for(lambda: get(f"{store.url}/internal/force_flush").status == 200)
        wait_for(lambda: store.query(f"count(last_over_time({DURATION}_count[1d]))"))
        yield store.url


def opened(text: str) -> Any:
    return closing(open_history(text, Credentials()))


def whole(answers: Answers, **more: Any) -> dict[tuple[str, str, str], Slice]:
    """One slice for each tool and cache, and version."""
    found = answers.slices(since=START, until=END, step=END - START, by="version", **more)
    return {(item.subject.kind, item.subject.name, item.version): item for item in found}


def test_an_engine_answers_as_the_file_does(
    engine: str, file: str, request: pytest.FixtureRequest
) -> None:
    is_native = "native" in request.node.name
    with opened(file) as answers:
        expected, versions, services = whole(answers), answers.versions(), answers.services()
    with opened(engine) as answers:
        found = whole(answers)
        assert answers.services() == services == ["shop"]
        seen = answers.versions("shop")
    assert [item.version for item in seen] == [item.version for item in versions] == ["1.0", "1.1"]
    for ours, theirs in zip(versions, seen, strict=True):
        assert theirs.first_seen == pytest.approx(ours.first_seen, abs=61)
        assert theirs.last_seen == pytest.approx(ours.last_seen, abs=61)
    assert found.keys() == expected.keys()
    for key, right in expected.items():
        told = found[key]
        # What happened before the first scrape is in no engine.
        assert sum(told.outcomes.values()) == pytest.approx(right.calls, rel=0.08)
        assert told.error_types.keys() == right.error_types.keys()
        if right.hit_rate is not None:
            assert told.hit_rate == pytest.approx(right.hit_rate, abs=0.01)
            continue
        assert told.error_rate == pytest.approx(right.error_rate, abs=0.01)
        assert told.latency is not None
        assert right.latency is not None
        for share in (0.5, 0.95):
            exact = right.latency.quantile(share)
            assert exact is not None
            # Classic buckets double: an estimate is in the same one as the exact figure.
            off = 0.03 if is_native else 0.5
            assert told.latency.quantile(share) == pytest.approx(exact, rel=off)


def asked(engine: str, query: str) -> dict[str, float]:
    """What the engine answers at the end, by the name of the tool."""
    found = get(f"{engine}/api/v1/query?{urlencode({'query': query, 'time': END})}").json()
    return {
        series["metric"].get(promql.TOOL, ""): float(series["value"][1])
        for series in found["data"]["result"]
    }


def test_dashboards_read_native_histograms_where_there_are_any(
    engine: str, minutes: list[Any], request: pytest.FixtureRequest
) -> None:
    is_native = "[native" in request.node.name
    for name in TOOLS:
        every = sorted(value for _, _, latencies in minutes for value in latencies[name])
        for share in (0.5, 0.95):
            tool = f'{promql.TOOL}="{name}"'
            query = quantile_of_calls(share, tool, over=f"{END - START:.0f}s")
            query = query.replace("$job", ".*").replace("$instance", ".*")
            exact = every[math.ceil(share * len(every)) - 1]
            # Of classic buckets it is in the same one as the exact figure; these double.
            off = 0.03 if is_native else 0.5
            assert asked(engine, query) == {"": pytest.approx(exact, rel=off)}


def test_recording_rules_read_native_histograms_where_there_are_any(
    engine: str, minutes: list[Any], request: pytest.FixtureRequest
) -> None:
    window = Thresholds(window_seconds=round(END - START))
    rule = next(
        each for each in of_tools(window) if each.record == names(window.window_seconds)["p95"]
    )
    estimate, _, _ = rule.expr.partition("\nand ")  # of rules that nobody evaluates here
    found = asked(engine, estimate)
    for name in TOOLS:
        every = sorted(value for _, _, latencies in minutes for value in latencies[name])
        exact = every[math.ceil(0.95 * len(every)) - 1]
        off = 0.03 if "[native" in request.node.name else 0.5
        assert found[name] == pytest.approx(exact, rel=off)


def test_periods_one_tool_and_one_kind(engine: str) -> None:
    with opened(engine) as answers:
        found = list(
            answers.slices(since=START, until=END, step=300, kinds=("tool",), name="search")
        )
    assert {item.subject for item in found} == {Subject("tool", "search", "")}
    assert {item.version for item in found} == {""}
    assert [item.start for item in found] == [START + 300 * at for at in range(8)]
    assert all(item.end - item.start == 300 for item in found)
    assert all(item.calls == pytest.approx(5 * CALLS, rel=0.3) for item in found)
    assert merged(item.latency for item in found).count == sum(item.calls for item in found)


def test_the_slowed_tool_is_the_first_regression_in_both(
    engine: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for history in (file, engine):
        assert main(["regressions", "--history", history, "--json"]) == 1
        told.append(json.loads(capsys.readouterr().out))
    for found in told:
        first = found["findings"][0]
        assert (first["name"], first["version"], first["is_worse"]) == ("search", "1.1", True)
        assert first["since"] == pytest.approx(START + MINUTES * 60, abs=60)
        assert {item["name"] for item in found["findings"]} == {"search"}
    exact, estimated = (found["findings"][0]["change"] for found in told)
    assert exact == pytest.approx(0.5, abs=0.1)
    assert estimated == pytest.approx(exact, abs=0.2)
