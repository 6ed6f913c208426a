"""Telling receivers: real servers that answer, hang, refuse, fail and redirect."""

from __future__ import annotations

import json
import random
import socket
import ssl
import threading
import time
from dataclasses import replace

import pytest

from metertap.alerts.evaluator import RESOLVED, Alert
from metertap.settings import address
from metertap_exporters.alert_receivers import receiver as receiver_module
from metertap_exporters.alert_receivers.receiver import ALERTMANAGER, WEBHOOK, ReceiverKind
from servers.webhook import Webhook, webhook
from support.alert_receivers import NAME, SENDER, Make, alert
from support.late_threads import late_threads
from support.waiting import wait_for
from support.warned import warnings_of


def test_one_thread_tells_a_receiver_however_late_it_begins(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_begin = late_threads(monkeypatch)
    receiver = receiver_of(WEBHOOK, hook.url)
    started = []
    for tool in ("search", "fetch"):
        receiver.tell([alert(tool=tool)], SENDER)
        started.append(receiver._thread)
    may_begin.set()
    wait_for(lambda: hook.requests)
    first, second = started
    assert first is not None
    assert second is not None
    if first is not second:
        first.join(60)
        assert not first.is_alive()
    assert second.is_alive()


def test_a_webhook_gets_what_alertmanager_would_send(hook: Webhook, receiver_of: Make) -> None:
    receiver = receiver_of(WEBHOOK, f"{hook.url}/a/b?token=1")
    receiver.tell([alert(), alert("pending", "other")], SENDER)
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
    receiver.tell([alert(RESOLVED, since=1_700_000_060.0)], SENDER)
    body = wait_for(lambda: hook.bodies[1:])[0]
    assert body["status"] == body["alerts"][0]["status"] == "resolved"
    assert body["alerts"][0]["endsAt"] == "2023-11-14T22:14:20.000Z"
    assert body["alerts"][0]["fingerprint"] == fingerprint


def test_a_webhook_is_told_of_each_change_once(hook: Webhook, receiver_of: Make) -> None:
    receiver = receiver_of(WEBHOOK, hook.url)
    for _ in range(3):
        receiver.tell([alert()], SENDER)
        wait_for(lambda: receiver.last_delivery)
    receiver.tell([alert(), alert(tool="other")], SENDER)
    wait_for(lambda: len(hook.requests) == 2)
    for _ in range(3):
        receiver.tell([alert(RESOLVED), alert(RESOLVED, "other")], SENDER)
        receiver.flush(60)
    receiver.tell([], SENDER)
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
    receiver.tell([alert()], SENDER)
    wait_for(lambda: len(hook.requests) > 3)
    assert {path for path, _, _ in hook.requests} == {"/prefix/api/v2/alerts"}
    (told,) = hook.bodies[0]
    assert told["startsAt"] == "2023-11-14T22:13:20.000Z"
    # Longer than it takes to fire again after a restart: 4 × 60 s, and its `for`.
    assert before + 530 < _unix(told["endsAt"]) < time.time() + 550
    receiver.tell([alert(RESOLVED, since=1_700_000_060.0)], SENDER)
    wait_for(lambda: hook.bodies[-1][0]["endsAt"] == "2023-11-14T22:14:20.000Z")
    told_so_far = len(hook.requests)
    receiver.tell([alert(RESOLVED, since=1_700_000_060.0)], SENDER)
    receiver.flush(1)
    assert len(hook.requests) == told_so_far


def _unix(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_many_alerts_come_in_few_requests_of_bounded_size(hook: Webhook, receiver_of: Make) -> None:
    receiver = receiver_of(WEBHOOK, hook.url)
    many = [alert(tool=f"tool {number}") for number in range(1200)]
    receiver.tell(many, SENDER)
    receiver.flush(60)
    assert [len(body["alerts"]) for body in hook.bodies] == [500, 500, 200]
    receiver.tell([alert(RESOLVED, f"tool {number}") for number in range(1200)], SENDER)
    receiver.flush(60)
    assert (
        len({json.dumps(item["labels"]) for body in hook.bodies[3:] for item in body["alerts"]})
        == 1200
    )


def test_of_many_alerts_each_is_told_again(hook: Webhook, receiver_of: Make) -> None:
    again = ReceiverKind(ALERTMANAGER.name, ALERTMANAGER.path, 0.05, ALERTMANAGER.body)
    receiver_of(again, hook.url).tell(
        [alert(tool=f"tool {number}") for number in range(1200)], SENDER
    )
    wait_for(lambda: len(hook.requests) >= 6)
    told_again = [item["labels"]["tool"] for body in hook.bodies[3:6] for item in body]
    assert len(set(told_again)) == 1200


def test_what_resolves_while_it_is_being_told_is_told_to_have_resolved(
    hook: Webhook, receiver_of: Make
) -> None:
    hook.waits.set()
    receiver = receiver_of(WEBHOOK, hook.url)
    receiver.tell([alert()], SENDER)
    wait_for(lambda: hook.requests)
    receiver.tell([alert(RESOLVED, since=1_700_000_060.0)], SENDER)
    hook.goes_on.set()
    wait_for(lambda: len(hook.told()) == 2)
    assert hook.told() == [("firing", NAME), ("resolved", NAME)]
    assert hook.bodies[1]["alerts"][0]["endsAt"] == "2023-11-14T22:14:20.000Z"


@pytest.mark.parametrize("kind", [WEBHOOK, ALERTMANAGER], ids=lambda kind: kind.name)
def test_what_resolved_is_the_same_alert_and_says_what_is_so_now(
    kind: ReceiverKind, hook: Webhook, receiver_of: Make
) -> None:
    receiver = receiver_of(kind, hook.url)
    receiver.tell([alert(), alert(tool="other")], SENDER)
    wait_for(lambda: receiver.last_delivery)
    told_now = "search no longer fails too often: 1 % of 200 calls in 5 s"
    finding = alert().finding._replace(value=1.0, said=told_now)
    # Of the other one nothing is known any more.
    receiver.tell([Alert(finding, RESOLVED, 1_700_000_060.0, fired=1_700_000_000.0)], SENDER)
    receiver.flush(60)
    fired, resolved = (
        body if isinstance(body, list) else body["alerts"]
        for body in (hook.bodies[0], hook.bodies[-1])
    )
    told = {item["labels"]["tool"]: item["annotations"]["summary"] for item in resolved}
    assert told == {"search": told_now, "other": "this holds no more: other fails: 12 %"}
    assert [item["labels"] for item in fired] == [item["labels"] for item in resolved]


@pytest.mark.parametrize("kind", [WEBHOOK, ALERTMANAGER], ids=lambda kind: kind.name)
def test_what_resolves_after_the_clock_was_set_back_ends_when_it_began(
    kind: ReceiverKind, hook: Webhook, receiver_of: Make
) -> None:
    receiver = receiver_of(kind, hook.url)
    receiver.tell([alert()], SENDER)
    wait_for(lambda: receiver.last_delivery)
    receiver.tell([replace(alert(RESOLVED), since=1_600_000_000.0)], SENDER)
    receiver.flush(60)
    body = hook.bodies[-1]
    (resolved,) = body if isinstance(body, list) else body["alerts"]
    assert resolved["endsAt"] == resolved["startsAt"] == "2023-11-14T22:13:20.000Z"


def test_credentials_in_the_address_are_sent_and_never_shown(
    hook: Webhook, receiver_of: Make
) -> None:
    host = hook.url.removeprefix("http://")
    receiver = receiver_of(WEBHOOK, f"http://user:p%40ss@{host}/hidden/secret?token=hush")
    receiver.tell([alert()], SENDER)
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
    receiver.tell([alert()], SENDER)
    wait_for(lambda: receiver._failures > 3)
    receiver.tell([alert(), alert(tool="other")], SENDER)
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
    receiver.tell([alert()], SENDER)
    wait_for(lambda: receiver.problem)
    receiver.tell([alert(RESOLVED)], SENDER)
    with webhook(free_port) as hook:
        receiver.tell([alert(RESOLVED), alert(tool="other")], SENDER)
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
        receiver.tell([alert()], SENDER)
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
        receiver.tell([alert()], SENDER)
        assert wait_for(lambda: receiver.problem) == "BadStatusLine"
        server.shutdown(socket.SHUT_RDWR)


def test_one_that_hangs_keeps_nobody_waiting(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "TIMEOUT_SECONDS", 30.0)
    hook.hangs.set()
    receiver = receiver_of(WEBHOOK, hook.url)
    began = time.perf_counter()
    receiver.tell([alert()], SENDER)
    wait_for(lambda: hook.requests)
    for _ in range(100):
        receiver.tell([alert()], SENDER)
    assert receiver.problem is None, "it waited for the answer"
    assert time.perf_counter() - began < 20
    monkeypatch.setattr(receiver_module, "LONGEST_SECONDS", 0.0)
    receiver.tell([alert()], SENDER)  # which cuts what has taken too long
    assert wait_for(lambda: receiver.problem)


def test_no_answer_in_time_is_a_problem(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "TIMEOUT_SECONDS", 0.3)
    hook.hangs.set()
    receiver = receiver_of(WEBHOOK, hook.url)
    receiver.tell([alert()], SENDER)
    assert wait_for(lambda: receiver.problem) == "no answer in time"


def test_one_that_is_always_about_to_answer_is_cut(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "LONGEST_SECONDS", 0.3)
    hook.drips.set()
    receiver = receiver_of(WEBHOOK, hook.url)

    def told() -> str | None:
        receiver.tell([alert()], SENDER)
        return receiver.problem

    assert wait_for(told)


def test_one_that_is_about_to_answer_too_often_is_not_heard_to_its_end(
    hook: Webhook, receiver_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "LONGEST_SECONDS", 1e9)
    hook.drips.set()
    receiver = receiver_of(WEBHOOK, hook.url)
    receiver.tell([alert()], SENDER)
    assert wait_for(lambda: receiver.problem) == "HTTPException"


def test_a_request_over_tls_that_is_cut_sends_nothing_in_clear() -> None:
    post = receiver_module.Post(address.parse("https://localhost"), "/", b"")
    one, other = socket.socketpair()
    with (
        other,
        ssl.create_default_context().wrap_socket(
            one, server_hostname="localhost", do_handshake_on_connect=False
        ) as encrypted,
    ):
        post._connection.sock = encrypted
        post.cut()
        with pytest.raises((ssl.SSLError, ConnectionError)):  # ValueError is that of no encryption
            encrypted.write(b"secret")


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
    receiver_of(WEBHOOK, hook.url).tell([alert()], SENDER)
    wait_for(lambda: hook.requests)
