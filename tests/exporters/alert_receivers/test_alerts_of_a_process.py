"""Processes that tell receivers: their settings, their ends and their forks."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import state
from metertap.cli.doctor import doctor
from metertap.cli.rules import rules
from metertap.settings import settings
from metertap.settings.address import Address
from metertap_exporters.alert_receivers import receiver as receiver_module
from servers.webhook import Webhook, webhook
from support.alert_receivers import AT_ONCE, NAME, failing
from support.checked import check
from support.forking import ran
from support.http import get
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.programs


@pytest.mark.parametrize(
    "text",
    [
        "user:hush@host:1",
        "ftp://user:hush@host",
        "http://",
        "http://hush host",
        "http://host:hush",
        "http://host:0/hush",
        "http://[hush",
        "http://hüsh",
        "http://host/\nhush",
    ],
)
@pytest.mark.parametrize("variable", ["METERTAP_ALERTMANAGER_URL", "METERTAP_ALERT_WEBHOOK_URL"])
def test_an_address_that_cannot_be_used_is_one_warning_that_shows_nothing_of_it(
    text: str, variable: str, caplog: pytest.LogCaptureFixture
) -> None:
    read = settings.read(environ={variable: text})
    settings.read(environ={variable: text})
    assert (read.alertmanager_url, read.alert_webhook_url, read.has_alerts) == (None, None, False)
    assert warnings_of(caplog) == [
        f"{variable}=(not shown) cannot be used (an address such as http://127.0.0.1:9093 is "
        "needed); None is used instead"
    ]


def test_receivers_are_keys_of_the_table_too(
    configured: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    configured(
        '[tool.metertap.alerts]\nalertmanager = "http://am:9093/x"\nwebhook = "https://u:p@h/y"\n'
        "every = 30\nerror_rate = 0.2\n"
    )
    named = {"METERTAP_CONFIG": str(Path("pyproject.toml").absolute())}
    read = settings.read(environ=named)
    assert read.alertmanager_url == Address("http", "am", 9093, "/x")
    assert read.alert_webhook_url == Address("https", "h", 443, "/y", "Basic dTpw")
    assert read.alert_every == 30.0
    wins = settings.read(environ={**named, "METERTAP_ALERTMANAGER_URL": "http://other"})
    assert wins.alertmanager_url == Address("http", "other", 80, "")
    assert warnings_of(caplog) == []


def test_each_bad_threshold_is_one_warning_and_the_others_hold(
    configured: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    configured(
        "[tool.metertap.alerts]\nerror_rate = 7\nhit_rate = 0.3\nnosuch = 1\n"
        "[tool.metertap.alerts.tools.search]\np95_seconds = -1\nerror_rate = 0.2\n"
        "[tool.metertap.alerts.caches]\nprices = 3\n"
    )
    for _ in range(2):
        with metertap.instrument() as tap:
            assert tap.watch is not None
            found = tap.watch.thresholds
    assert (found.tool.error_rate, found.cache.hit_rate) == (0.05, 0.3)
    assert (found.of_tool("search").error_rate, found.of_tool("search").p95_seconds) == (0.2, None)
    told = warnings_of(caplog)
    keys = [line.partition(": ")[0] for line in told]
    assert keys == [
        "alerts.error_rate = 7",
        "alerts.nosuch = 1",
        "alerts.tools.search.p95_seconds = -1",
        "alerts.caches.prices = 3",
    ]
    assert all(line.endswith(" (the default is used)") and "\n" not in line for line in told)


def test_of_many_bad_thresholds_ten_are_told_and_the_rules_list_them_all(
    configured: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configured("[tool.metertap.alerts]\n" + "".join(f"wrong{it} = 1\n" for it in range(13)))
    with metertap.instrument():
        pass
    told = warnings_of(caplog)
    assert len(told) == 11
    assert told[9].startswith("alerts.wrong9 = 1: ")
    assert told[10] == "and 3 more in alerts; `metertap rules` lists them"
    assert rules(config=None, out=None) == 2
    assert len(capsys.readouterr().err.splitlines()) == 13


def test_alerts_that_nobody_would_learn_of_are_not_looked_for(
    configured: Callable[[str], None],
) -> None:
    configured(AT_ONCE)
    before = set(threading.enumerate())  # one of an earlier test may be ending
    with metertap.instrument(json_endpoint=False) as tap:
        failing()
        assert tap.watch is None
        assert tap.snapshot()["alerts"] is None
        found = set(threading.enumerate()) - before
    assert not [item for item in found if item.name == "metertap-alerts"]


def test_somebody_to_tell_is_enough_for_alerts_and_nothing_stays_after_a_shutdown(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", hook.url)
    with metertap.instrument(json_endpoint=False) as tap:
        assert tap.watch is not None
        assert tap.snapshot()["alerts"] == []
        assert not tap.watch.described()["running"]
        failing(1)
        assert tap.watch.described()["running"]
    assert tap.snapshot()["alerts"] is None
    assert state.recorder()._activity_callbacks == []
    wait_for(lambda: not [item for item in threading.enumerate() if item.name == "metertap-alerts"])


def test_a_failing_tool_is_in_the_document_and_with_the_webhook_and_resolves(
    configured: Callable[[str], None], hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(AT_ONCE)
    monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", hook.url)
    with metertap.instrument() as tap:
        assert tap.snapshot()["alerts"] == []
        failing()
        (shown,) = wait_for(lambda: tap.snapshot()["alerts"])
        assert wait_for(lambda: hook.told())[0] == ("firing", NAME)
        assert {**shown, "since": None, "summary": None} == {
            "name": NAME,
            "severity": "warning",
            "state": "firing",
            "tool": "search",
            "cache": None,
            "place": None,
            "value": 100.0,
            "threshold": 5.0,
            "unit": "%",
            "since": None,
            "summary": None,
        }
        assert shown["summary"].startswith("search fails: 100 % of 20 calls in ")
        url = wait_for(lambda: tap.json_url) + "/metrics"
        check(get(url).json())
        wait_for(lambda: get(url).json()["alerts"] == tap.snapshot()["alerts"])
        wait_for(lambda: tap.snapshot()["alerts"][0]["state"] == "resolved")
        wait_for(lambda: len(hook.told()) == 2)
        assert hook.told() == [("firing", NAME), ("resolved", NAME)]
        (resolved,) = tap.snapshot()["alerts"]
        # It failed no more because nobody called it: no figure, and no old one.
        assert (resolved["value"], resolved["threshold"]) == (None, 5.0)
        told = "search: too few calls to tell whether it still fails, no calls in 4 s"
        assert resolved["summary"] == told
        assert hook.bodies[1]["alerts"][0]["annotations"]["summary"] == told
        metertap.reset_metrics()
        check(tap.snapshot())
    assert hook.bodies[0]["alerts"][0]["fingerprint"] == hook.bodies[1]["alerts"][0]["fingerprint"]


def test_doctor_shows_thresholds_and_receivers_and_what_is_wrong(
    configured: Callable[[str], None],
    free_port: int,
    hook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configured(AT_ONCE)
    monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", f"{hook.url}/hush")
    monkeypatch.setenv("METERTAP_ALERTMANAGER_URL", f"http://u:hush@127.0.0.1:{free_port}/hush")
    monkeypatch.setenv("COLUMNS", "200")
    with metertap.instrument() as tap:
        failing()
        url = wait_for(lambda: tap.json_url)
        wait_for(lambda: hook.requests and tap.watch and tap.watch.receivers[0].problem)
        wait_for(lambda: tap.watch and tap.watch.receivers[1].last_delivery)
        assert doctor(url, as_json=False, everything=True) == 1
        assert doctor(url, as_json=True) == 1
    shown = capsys.readouterr().out
    assert "every 0.1 s: error rate above 0.05; hit rate below 0.1" in shown
    assert f"http://127.0.0.1:{free_port}/…: nothing told yet; Connection refused" in shown
    assert f"{hook.url}/…: told last at 20" in shown
    assert "hush" not in shown


def test_a_restarted_process_tells_of_the_same_alert(
    configured: Callable[[str], None],
    hook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    free_port: int,
) -> None:
    configured(AT_ONCE)
    monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", hook.url)
    monkeypatch.setenv("METRICS_JSON_PORT", str(free_port))
    for life in (1, 2):
        metertap.reset()
        with metertap.instrument():
            failing()
            wait_for(lambda life=life: len(hook.requests) == life)  # type: ignore[misc]
    first, second = (body["alerts"][0] for body in hook.bodies)
    assert first["fingerprint"] == second["fingerprint"]
    assert first["labels"] == second["labels"]
    assert first["labels"]["instance"].endswith(f":{free_port}")
    # Its end is not known: no process said that it resolved.
    assert hook.told() == [("firing", NAME)] * 2


def test_the_operators_instance_id_is_the_instance(
    configured: Callable[[str], None], hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(AT_ONCE)
    monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", hook.url)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=shop-1,service.name=shop")
    with metertap.instrument():
        failing()
        labels = wait_for(lambda: hook.bodies)[0]["alerts"][0]["labels"]
    assert (labels["service"], labels["instance"]) == ("shop", "shop-1")


def test_a_shutdown_while_a_receiver_hangs_takes_half_a_second(
    configured: Callable[[str], None], hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(AT_ONCE)
    monkeypatch.setattr(receiver_module, "TIMEOUT_SECONDS", 60.0)
    hook.hangs.set()
    monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", hook.url)
    with webhook() as other:
        other.hangs.set()
        monkeypatch.setenv("METERTAP_ALERTMANAGER_URL", other.url)
        tap = metertap.instrument()
        failing()
        wait_for(lambda: hook.requests and other.requests)
        began = time.perf_counter()
        tap.shutdown()
        # It waits half a second; a step of a request may take a hundred times as long.
        assert time.perf_counter() - began < 20
        hook.goes_on.set()
    names = ("metertap-alerts", "metertap-webhook", "metertap-alertmanager")
    wait_for(lambda: not [item for item in threading.enumerate() if item.name in names])


def test_a_shutdown_does_not_wait_where_there_is_nothing_to_tell(
    configured: Callable[[str], None], free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(AT_ONCE)
    monkeypatch.setattr("metertap.runtime.alert_watch._FLUSH_SECONDS", 60.0)
    monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", f"http://127.0.0.1:{free_port}")
    tap = metertap.instrument()
    failing()
    wait_for(lambda: tap.watch and tap.watch.receivers[0].problem)
    began = time.perf_counter()
    tap.shutdown()
    assert time.perf_counter() - began < 20


PROGRAM = """
import sys, time
import metertap
tap = metertap.instrument()
for _ in range(20):
    metertap.record_tool_call("search", False, 1.0)
while not tap.snapshot()["alerts"]:
    time.sleep(0.02)
"""


def test_a_program_that_ends_tells_what_fires_and_nothing_is_printed(
    configured: Callable[[str], None], hook: Webhook
) -> None:
    configured(AT_ONCE + f'webhook = "{hook.url}"\n')
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert hook.told() == [("firing", NAME)]


def test_a_program_ends_in_time_although_a_webhook_hangs(
    configured: Callable[[str], None], hook: Webhook
) -> None:
    hook.hangs.set()
    configured(AT_ONCE + f'webhook = "{hook.url}"\n')
    program = (
        PROGRAM
        + "began = time.monotonic()\nimport atexit\n"
        + ("atexit._run_exitfuncs()\nprint(time.monotonic() - began)\n")
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert float(done.stdout) < receiver_module.TIMEOUT_SECONDS - 1


def test_a_forked_child_has_alerts_of_its_own(
    configured: Callable[[str], None], hook: Webhook
) -> None:
    configured(AT_ONCE + f'webhook = "{hook.url}"\n')
    found: Any = ran(
        """
tap = metertap.instrument()
def fail():
    for _ in range(20):
        metertap.record_tool_call("search", False, 1.0)
def alerts():
    import time
    until = time.monotonic() + 60
    while not tap.snapshot()["alerts"] and time.monotonic() < until:
        time.sleep(0.02)
    return [alert["state"] for alert in tap.snapshot()["alerts"]]
fail()
parent = alerts()
quiet = in_child(lambda: [tap.snapshot()["alerts"], [item.name for item in threading.enumerate()]])
def child():
    fail()
    found = alerts()
    tap.shutdown()
    return found
print(json.dumps([parent, quiet, in_child(child), alerts()]))
""",
        METRICS_JSON_PORT="0",
    )
    parent, quiet, child, after = found
    assert (parent, child) == (["firing"], ["firing"])
    assert quiet == [[], ["MainThread"]]
    assert after in (["firing"], ["resolved"])
    assert [told for told in hook.told() if told[0] == "firing"] == [("firing", NAME)] * 2


@pytest.mark.faults
def test_what_goes_wrong_at_one_look_is_a_fault_and_the_next_one_comes(
    configured: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    configured(AT_ONCE)
    with metertap.instrument() as tap:
        from metertap.alerts import counters

        read, broken = counters.read, [True, True]

        def breaks(recorder: Any) -> Any:
            if broken:
                broken.pop()
                raise OSError("no memory")
            return read(recorder)

        monkeypatch.setattr(counters, "read", breaks)
        failing()
        expected = {NAME, "MetertapMeterFaults"}
        wait_for(lambda: {item["name"] for item in tap.snapshot()["alerts"]} == expected)
    (told,) = warnings_of(caplog)
    assert told.startswith("alerts.evaluate: OSError: no memory")
