"""Telling receivers: real servers that answer, hang, refuse, fail and redirect; ends and forks."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import metertap
from metertap import state
from metertap.alerts.definitions import HIGH_ERROR_RATE, Finding
from metertap.alerts.evaluator import FIRING, RESOLVED, Alert
from metertap.cli.doctor import doctor
from metertap.cli.rules import rules
from metertap.settings import settings
from metertap.settings.address import Address, parse
from metertap_exporters.alert_receivers import receiver as receiver_module
from metertap_exporters.alert_receivers.payloads import Sender
from metertap_exporters.alert_receivers.receiver import (
    ALERTMANAGER,
    WEBHOOK,
    Receiver,
    ReceiverKind,
)
from metertap_exporters.json.reader import schema
from servers.webhook import Webhook, webhook
from support.forking import ran
from support.http import get
from support.waiting import wait_for
from support.warned import warnings_of

SENDER = Sender("shop", "here:9109", "http://127.0.0.1:9109/", "docs/runbooks.md")
NAME = HIGH_ERROR_RATE.name
AT_ONCE = """
[tool.metertap.alerts]
every = 0.1
window = "4s"
for = "0s"
minimum_calls = 20
success_objective = false
"""


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as made:
        yield made


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(receiver_module, "LAST_RETRY_SECONDS", 0.1)


Make = Callable[[ReceiverKind, str], Receiver]


@pytest.fixture
def receiver_of() -> Iterator[Make]:
    made: list[Receiver] = []

    def make(kind: ReceiverKind, url: str) -> Receiver:
        made.append(Receiver(kind, parse(url), lambda: SENDER))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


def alert(state: str = FIRING, tool: str = "search", since: float = 1_700_000_000.0) -> Alert:
    labels = (("tool", tool),)
    finding = Finding(HIGH_ERROR_RATE, labels, 300.0, 12.0, 5.0, said=f"{tool} fails: 12 %")
    return Alert(finding, state, since, fired=since)


def failing(times: int = 20) -> None:
    for _ in range(times):
        metertap.record_tool_call("search", False, 1.0, "ValueError")


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a text into the configuration file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "pyproject.toml"))
    return lambda text: (tmp_path / "pyproject.toml").write_text(text) and None


# What is sent


def test_a_webhook_gets_what_alertmanager_would_send(hook: Webhook, receiver_of: Make) -> None:
    receiver = receiver_of(WEBHOOK, f"{hook.url}/a/b?token=1")
    receiver.tell([alert(), alert("pending", "other")])
    path, headers, body = wait_for(lambda: hook.requests)[0]
    assert (path, headers["Content-Type"]) == ("/a/b?token=1", "application/json")
    fingerprint = body["alerts"][0].pop("fingerprint")
    assert len(fingerprint) == 16
    labels = {
        "alertname": NAME,
        "severity": "warning",
        "tool": "search",
        "service": "shop",
        "instance": "here:9109",
    }
    annotations = {
        "summary": "search fails: 12 %",
        "runbook_url": "docs/runbooks.md#metertaphigherrorrate",
    }
    assert body == {
        "version": "4",
        "groupKey": 'metertap:{"instance": "here:9109", "service": "shop"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "metertap",
        "groupLabels": {"service": "shop", "instance": "here:9109"},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://127.0.0.1:9109/",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": annotations,
                "startsAt": "2023-11-14T22:13:20.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://127.0.0.1:9109/",
            }
        ],
    }
    wait_for(lambda: receiver.last_delivery)
    receiver.tell([alert(RESOLVED, since=1_700_000_060.0)])
    body = wait_for(lambda: hook.bodies[1:])[0]
    assert body["status"] == body["alerts"][0]["status"] == "resolved"
    assert body["alerts"][0]["endsAt"] == "2023-11-14T22:14:20.000Z"
    assert body["alerts"][0]["fingerprint"] == fingerprint


def test_a_webhook_is_told_of_each_change_once(hook: Webhook, receiver_of: Make) -> None:
    receiver = receiver_of(WEBHOOK, hook.url)
    for _ in range(3):
        receiver.tell([alert()])
        wait_for(lambda: receiver.last_delivery)
    receiver.tell([alert(), alert(tool="other")])
    wait_for(lambda: len(hook.requests) == 2)
    for _ in range(3):
        receiver.tell([alert(RESOLVED), alert(RESOLVED, "other")])
        receiver.flush(60)
    receiver.tell([])
    receiver.flush(60)
    assert hook.told() == [
        ("firing", NAME),
        ("firing", NAME),
        ("resolved", NAME),
        ("resolved", NAME),
    ]


def test_alertmanager_is_told_again_of_what_fires_and_that_it_ends_some_time(
    hook: Webhook, receiver_of: Make
) -> None:
    again = ReceiverKind(ALERTMANAGER.name, ALERTMANAGER.path, 0.05, ALERTMANAGER.body)
    receiver = receiver_of(again, hook.url + "/prefix/")
    before = time.time()
    receiver.tell([alert()])
    wait_for(lambda: len(hook.requests) > 3)
    assert {path for path, _, _ in hook.requests} == {"/prefix/api/v2/alerts"}
    (told,) = hook.bodies[0]
    assert told["startsAt"] == "2023-11-14T22:13:20.000Z"
    # Longer than it takes to fire again after a restart: 4 × 60 s, and its `for`.
    assert before + 530 < _unix(told["endsAt"]) < time.time() + 550
    receiver.tell([alert(RESOLVED, since=1_700_000_060.0)])
    wait_for(lambda: hook.bodies[-1][0]["endsAt"] == "2023-11-14T22:14:20.000Z")
    told_so_far = len(hook.requests)
    receiver.tell([alert(RESOLVED, since=1_700_000_060.0)])
    receiver.flush(1)
    assert len(hook.requests) == told_so_far


def _unix(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_many_alerts_come_in_few_requests_of_bounded_size(hook: Webhook, receiver_of: Make) -> None:
    receiver = receiver_of(WEBHOOK, hook.url)
    many = [alert(tool=f"tool {number}") for number in range(1200)]
    receiver.tell(many)
    receiver.flush(60)
    assert [len(body["alerts"]) for body in hook.bodies] == [500, 500, 200]
    receiver.tell([alert(RESOLVED, f"tool {number}") for number in range(1200)])
    receiver.flush(60)
    assert (
        len({json.dumps(item["labels"]) for body in hook.bodies[3:] for item in body["alerts"]})
        == 1200
    )


def test_of_many_alerts_each_is_told_again(hook: Webhook, receiver_of: Make) -> None:
    again = ReceiverKind(ALERTMANAGER.name, ALERTMANAGER.path, 0.05, ALERTMANAGER.body)
    receiver_of(again, hook.url).tell([alert(tool=f"tool {number}") for number in range(1200)])
    wait_for(lambda: len(hook.requests) >= 6)
    told_again = [item["labels"]["tool"] for body in hook.bodies[3:6] for item in body]
    assert len(set(told_again)) == 1200


def test_what_resolves_while_it_is_being_told_is_told_to_have_resolved(
    hook: Webhook, receiver_of: Make
) -> None:
    hook.waits.set()
    receiver = receiver_of(WEBHOOK, hook.url)
    receiver.tell([alert()])
    wait_for(lambda: hook.requests)
    receiver.tell([alert(RESOLVED, since=1_700_000_060.0)])
    hook.goes_on.set()
    wait_for(lambda: len(hook.told()) == 2)
    assert hook.told() == [("firing", NAME), ("resolved", NAME)]
    assert hook.bodies[1]["alerts"][0]["endsAt"] == "2023-11-14T22:14:20.000Z"


@pytest.mark.parametrize("kind", [WEBHOOK, ALERTMANAGER], ids=lambda kind: kind.name)
def test_what_resolved_is_the_same_alert_and_says_what_is_so_now(
    kind: ReceiverKind, hook: Webhook, receiver_of: Make
) -> None:
    receiver = receiver_of(kind, hook.url)
    receiver.tell([alert(), alert(tool="other")])
    wait_for(lambda: receiver.last_delivery)
    told_now = "search no longer fails too often: 1 % of 200 calls in 5 s"
    finding = alert().finding._replace(value=1.0, said=told_now)
    # Of the other one nothing is known any more.
    receiver.tell([Alert(finding, RESOLVED, 1_700_000_060.0, fired=1_700_000_000.0)])
    receiver.flush(60)
    fired, resolved = (
        body if isinstance(body, list) else body["alerts"]
        for body in (hook.bodies[0], hook.bodies[-1])
    )
    told = {item["labels"]["tool"]: item["annotations"]["summary"] for item in resolved}
    assert told == {
        "search": told_now,
        "other": "this holds no more: other fails: 12 %",
    }
    assert [item["labels"] for item in fired] == [item["labels"] for item in resolved]


def test_credentials_in_the_address_are_sent_and_never_shown(
    hook: Webhook, receiver_of: Make
) -> None:
    host = hook.url.removeprefix("http://")
    receiver = receiver_of(WEBHOOK, f"http://user:p%40ss@{host}/hidden/secret?token=hush")
    receiver.tell([alert()])
    _, headers, _ = wait_for(lambda: hook.requests)[0]
    assert headers["Authorization"] == "Basic dXNlcjpwQHNz"
    shown = [str(receiver.address), repr(receiver.address), str(receiver.described())]
    assert shown[0] == f"{hook.url}/…"
    for text in shown:
        assert not {"user", "p@ss", "p%40ss", "secret", "hush", "dXNl"} & {
            word for word in ("user", "p@ss", "p%40ss", "secret", "hush", "dXNl") if word in text
        }


# Receivers that do not do as they should


def test_one_that_refuses_is_one_warning_and_is_told_when_it_is_there(
    receiver_of: Make, free_port: int, quick_retries: None, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = receiver_of(WEBHOOK, f"http://127.0.0.1:{free_port}/secret")
    receiver.tell([alert()])
    wait_for(lambda: receiver._failures > 3)
    receiver.tell([alert(), alert(tool="other")])
    with webhook(free_port) as hook:
        wait_for(lambda: len(hook.told()) == 2)
        receiver.flush(60)
    wait_for(lambda: len(warnings_of(caplog)) == 2)
    refused, answers = warnings_of(caplog)
    where = f"alerts: the webhook at http://127.0.0.1:{free_port}/…"
    assert refused == (
        f"{where} cannot be told (Connection refused); tried again, told once until it can"
    )
    assert answers == f"{where} answers again"


def test_what_resolved_before_a_receiver_could_be_told_is_not_told_at_all(
    receiver_of: Make, free_port: int, quick_retries: None
) -> None:
    receiver = receiver_of(WEBHOOK, f"http://127.0.0.1:{free_port}")
    receiver.tell([alert()])
    wait_for(lambda: receiver.problem)
    receiver.tell([alert(RESOLVED)])
    with webhook(free_port) as hook:
        receiver.tell([alert(RESOLVED), alert(tool="other")])
        wait_for(lambda: hook.requests)
        receiver.flush(60)
        assert hook.told() == [("firing", NAME)]
        assert hook.bodies[0]["alerts"][0]["labels"]["tool"] == "other"


@pytest.mark.parametrize("status", [500, 404, 301, 302, 307, 308])
def test_other_answers_than_success_are_tried_again_and_redirects_are_not_followed(
    status: int,
    hook: Webhook,
    receiver_of: Make,
    quick_retries: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with webhook() as elsewhere:
        hook.status, hook.headers = status, {"Location": elsewhere.url}
        receiver = receiver_of(WEBHOOK, hook.url)
        receiver.tell([alert()])
        wait_for(lambda: len(hook.requests) > 2)
        assert (receiver.problem or "").startswith(f"answers {status}")
        hook.status = 204
        wait_for(lambda: receiver.last_delivery)
        assert elsewhere.requests == []
    assert len(warnings_of(caplog)) == 2


def test_what_answers_and_is_no_http_server_is_a_problem(
    receiver_of: Make, quick_retries: None
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(b"\x00\xff nonsense\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        receiver = receiver_of(WEBHOOK, f"http://127.0.0.1:{server.getsockname()[1]}")
        receiver.tell([alert()])
        assert wait_for(lambda: receiver.problem) == "BadStatusLine"
        server.shutdown(socket.SHUT_RDWR)


def test_one_that_hangs_keeps_nobody_waiting(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "TIMEOUT_SECONDS", 30.0)
    hook.hangs.set()
    receiver = receiver_of(WEBHOOK, hook.url)
    began = time.perf_counter()
    receiver.tell([alert()])
    wait_for(lambda: hook.requests)
    for _ in range(100):
        receiver.tell([alert()])
    assert receiver.problem is None, "it waited for the answer"
    assert time.perf_counter() - began < 20
    monkeypatch.setattr(receiver_module, "LONGEST_SECONDS", 0.0)
    receiver.tell([alert()])  # which cuts what has taken too long
    assert wait_for(lambda: receiver.problem)


def test_no_answer_in_time_is_a_problem(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "TIMEOUT_SECONDS", 0.3)
    hook.hangs.set()
    receiver = receiver_of(WEBHOOK, hook.url)
    receiver.tell([alert()])
    assert wait_for(lambda: receiver.problem) == "no answer in time"


def test_one_that_is_always_about_to_answer_is_cut(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "LONGEST_SECONDS", 0.3)
    hook.drips.set()
    receiver = receiver_of(WEBHOOK, hook.url)

    def told() -> str | None:
        receiver.tell([alert()])
        return receiver.problem

    assert wait_for(told)


def test_tries_become_rare_and_do_not_come_all_at_once(receiver_of: Make, free_port: int) -> None:
    receiver = receiver_of(WEBHOOK, f"http://127.0.0.1:{free_port}")
    waits: list[float] = []
    for number in range(12):
        before = time.monotonic()
        receiver._sent([], [], "Connection refused")
        longest = min(60.0, 2.0**number)
        assert before + longest / 2 <= receiver._retry_at <= time.monotonic() + longest
        waits.append(receiver._retry_at - before)
    assert max(waits[6:]) - min(waits[6:]) > 1.0


def test_the_programs_own_random_numbers_stay_what_they_are(
    receiver_of: Make, free_port: int
) -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    receiver_of(WEBHOOK, f"http://127.0.0.1:{free_port}")._sent([], [], "Connection refused")
    assert random.random() == expected


def test_no_proxy_is_asked(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    receiver_of(WEBHOOK, hook.url).tell([alert()])
    wait_for(lambda: hook.requests)


# Settings


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
        "needed); None is taken"
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
    assert all(line.endswith(" (the default is taken)") and "\n" not in line for line in told)


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


# A whole process


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
        Draft202012Validator(schema()).validate(get(url).json())
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
        Draft202012Validator(schema()).validate(tap.snapshot())
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
