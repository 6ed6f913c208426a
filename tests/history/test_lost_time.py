"""The time that a slower tool loses a day, from a Prometheus whose buckets are wide."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path

import pytest

from metertap import catalogue
from metertap.cli import main
from servers.real_servers import prometheus_of

pytestmark = pytest.mark.real

DURATION = "gen_ai_execute_tool_duration_seconds"
START = time.time() // 3600 * 3600 - 7200
MINUTES, CALLS = 20, 40
MEAN = {"1.0": 0.042, "1.1": 0.084}
"""Just above bounds of buckets, whose middles are a third above."""


def scraped(sum_of_calls: bool) -> str:
    """What a Prometheus would have scraped each 15 s of two versions, one after the other."""
    chance = random.Random(7)
    infos, lines = [], []
    for begin, (version, mean) in enumerate(MEAN.items()):
        target = f'job="shop",instance="{version}"'
        series = f'{target},gen_ai_tool_name="search",metertap_outcome="ok"'
        known: list[float] = []
        for quarter in range(4 * MINUTES + 1):
            at = START + begin * MINUTES * 60 + quarter * 15
            infos.append(
                f'target_info{{{target},service_name="shop",service_version="{version}"}} 1 {at}'
            )
            for bound in (*catalogue.TOOL_DURATION.buckets, math.inf):
                count = sum(value <= bound for value in known)
                le = "+Inf" if math.isinf(bound) else f"{bound:g}"
                lines.append(f'{DURATION}_bucket{{{series},le="{le}"}} {count} {at}')
            lines.append(f"{DURATION}_count{{{series}}} {len(known)} {at}")
            if sum_of_calls:
                lines.append(f"{DURATION}_sum{{{series}}} {sum(known):.6f} {at}")
            known += [chance.gauss(mean, 0.0005) for _ in range(CALLS // 4)]
    lines.sort(key=lambda line: line.rpartition("}")[0])
    kinds = ("# TYPE target info", *infos, f"# TYPE {DURATION} histogram", *lines, "# EOF", "")
    return "\n".join(kinds)


@pytest.mark.parametrize("sum_of_calls", [True, False])
def test_the_time_lost_is_that_of_the_calls_whatever_their_buckets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sum_of_calls: bool
) -> None:
    with prometheus_of(tmp_path / "data", scraped(sum_of_calls)) as engine:
        assert main(["regressions", "--history", engine.url, "--json"]) == 1
    first = json.loads(capsys.readouterr().out)["findings"][0]
    assert (first["name"], first["version"]) == ("search", "1.1")
    lost = (MEAN["1.1"] - MEAN["1.0"]) * CALLS * 24 * 60
    # Prometheus extrapolates, and lacks what was before the first scrape.
    expected = pytest.approx(lost, rel=0.08)
    # Without the sum it can be read from the buckets alone.
    assert first["lost_seconds_a_day"] == (
        expected if sum_of_calls else pytest.approx(1.35 * lost, rel=0.15)
    )
