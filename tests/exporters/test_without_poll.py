"""Endpoints where there is no `poll`: on Windows, and where eventlet has patched first."""

from __future__ import annotations

import select
import selectors
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

import metertap
from metertap import native
from metertap_exporters.http import connections
from metertap_exporters.http.connections import Connection


@pytest.fixture(autouse=True)
def without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll", raising=False)
    monkeypatch.delattr(selectors, "PollSelector", raising=False)


def test_they_answer_several_clients_at_once() -> None:
    def status(url: str) -> int:
        with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
            return int(answer.status)

    with metertap.instrument(json_port=0, prometheus=True, prometheus_port=0) as tap:
        metertap.record_tool_call("search", True, 1.0)
        json, prometheus = tap.pipeline.json, tap.pipeline.prometheus
        assert json is not None
        assert prometheus is not None
        urls = [json.endpoint.wait(60), prometheus.endpoint.wait(60)]
        with ThreadPoolExecutor(8) as several:
            assert {*several.map(status, filter(None, urls * 10))} == {200}


def test_no_client_is_known_to_have_left_or_to_be_ready() -> None:
    one, other = socket.socketpair()
    with one, other:
        known = Connection(one)
        assert connections._ready([known]) == set()
        assert not connections.has_left(one)


def test_clients_are_waited_for() -> None:
    one, other = socket.socketpair()
    with one, other, native.selector() as waiting:
        waiting.register(one, selectors.EVENT_READ)
        assert waiting.select(0) == []
        other.send(b"asked")
        assert len(waiting.select(60)) == 1
