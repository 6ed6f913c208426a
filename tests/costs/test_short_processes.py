"""A process that asks models and ends at once delivers what it has measured, with its costs."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from metertap.history.file_answers import FileAnswers
from servers.otlp_receiver import receiver
from support.programs import run

pytestmark = pytest.mark.programs

CALLS = 300
PROGRAM = """
import os, signal, sys, time
import genai_prices, opentelemetry.instrumentation.system_metrics
import metertap
metertap.instrument()

# It is imported again at the end. What it imports itself is there, and need not be compiled then.
del sys.modules["genai_prices"]

class Slow:  # as a busy machine is
    def find_spec(self, name, *_):
        if name == "genai_prices":
            time.sleep(1.2)

sys.meta_path.insert(0, Slow())

@metertap.tool
def search():
    metertap.record_usage(provider="openai", model="gpt-4o", input_tokens=1000, output_tokens=500)

for _ in range({calls}):
    search()
{end}
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [("", 0), ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM)],
    ids=["it returns", "SIGTERM"],
)
def test_calls_and_costs_of_a_short_process_arrive(end: str, status: int, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with receiver() as collector:
        env = {
            "METERTAP_HISTORY": str(path),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
        }
        done = run(sys.executable, "-c", PROGRAM.format(calls=CALLS, end=end), env=env)
    assert done.status == status
    assert list(collector.calls_by_process().values()) == [CALLS]
    with closing(FileAnswers(path)) as answers:
        found = list(answers.slices(since=0, until=time.time() + 60, step=1e12, by="none"))
    kept = {each.subject.name: each for each in found if each.subject.kind == "tool"}
    assert sum(kept["search"].outcomes.values()) == CALLS
    assert kept["search"].extra["model_calls"] == CALLS
    assert kept["search"].extra["cost_usd"] > 0
