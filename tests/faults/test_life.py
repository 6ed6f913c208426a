"""Faults of our own where measuring begins and ends, and in what tells receivers of alerts."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import faults, state
from metertap.alerts import counters
from metertap.alerts.evaluator import Evaluator
from metertap.runtime import tap as taps
from servers.webhook import webhook
from support import breaking
from support.metric_data import points
from support.waiting import wait_for

TELL_OTHERWISE = {"config_file.py", "parsing.py", "regular.py"}
"""What these raise is told as a setting, or a file, that cannot be used."""


@metertap.tool
def search(text: str) -> str:
    return text.upper()


def calls() -> int:
    """How many calls of the tool are known."""
    found = metertap.get_all_metrics()["tool_metrics"].get("search")
    return 0 if found is None else found["total_calls"]


@pytest.mark.faults
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_anywhere_in_ours_while_measuring_begins_and_ends_reaches_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", "*")
    wrong: list[str] = []

    def use() -> str:
        with metertap.instrument(json_endpoint=False, service_name="shop") as tap:
            answer = search("a")
            tap.flush(1)
        metertap.uninstrument()
        return answer

    use()
    for code in breaking.each_broken(use):
        name, file = breaking.name_of(code), Path(code.co_filename).name
        try:
            answer = use()
        except Exception as error:
            answer = repr(error)
        if answer != "A":
            wrong.append(f"{name}: {answer}")
        elif breaking.reached and not faults.fault_counts() and file not in TELL_OTHERWISE:
            wrong.append(f"{name}: was told to nobody")
    assert not wrong, "\n".join(wrong)
    before = calls()
    with metertap.instrument(json_endpoint=False):
        search("a")
        assert calls() == before + 1
    assert taps.active_tap() is None
    # Nor is what was measured before a fault handed to a provider that is set long after it.
    metertap.reset()
    theirs = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([theirs], shutdown_on_exit=False))
    with metertap.instrument(json_endpoint=False):
        search("a")
        assert [point.count for point in points(theirs, "gen_ai.execute_tool.duration")] == [1]


@pytest.mark.faults
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_anywhere_in_ours_while_receivers_are_told_of_alerts_ends_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "error_rate = 0.01\nminimum_calls = 1\nfor = '0s'\nwindow = '5m'\nevery = 3600\n"
    (tmp_path / "metertap.toml").write_text(f"[alerts]\n{table}")
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", "*")
    wrong: list[str] = []
    with webhook() as hook, metertap.instrument(json_endpoint=False, alert_webhook_url=hook.url):
        installation = taps.installation()
        assert installation is not None
        watch = installation.watch
        assert watch is not None
        (receiver,) = watch.receivers
        receiver._random.uniform = lambda _low, _high: 0.0  # type: ignore[method-assign]
        evaluator = Evaluator(watch.thresholds, 1.0, 0.0, counters.read(state.recorder()))
        steps = iter(range(10, 1_000_000, 10))

        def use() -> None:
            """Evaluate as the thread does, and tell a receiver that knows nothing."""
            metertap.record_tool_call("fails", False, 1.0, "ValueError")
            now = float(next(steps))
            with faults.guarded("alerts.evaluate"):
                alerts = evaluator.evaluate(now, now, counters.read(state.recorder()))
                with receiver._changed:
                    receiver._known.clear()
                    receiver._resolved.clear()
                receiver.tell(alerts, watch.sender())
                receiver.flush(5)
            watch.alerts()
            faults.kept("diagnosis.alerts", watch.described, None)  # as the diagnosis does

        wait_for(lambda: use() or hook.told())
        for code in breaking.each_broken(use, once=True):
            name = breaking.name_of(code)
            try:
                use()
            except Exception as error:
                wrong.append(f"{name}: {error!r}")
            if breaking.reached and not faults.fault_counts() and receiver.problem is None:
                wrong.append(f"{name}: was told to nobody")
            told = len(hook.requests)
            try:
                wait_for(lambda told=told: use() or len(hook.requests) > told, 60)
            except AssertionError:
                wrong.append(f"{name}: nothing is told any more")
    assert not wrong, "\n".join(wrong)
