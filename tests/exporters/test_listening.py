"""When and where the endpoints listen, and what happens when a port is taken."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import opentelemetry.sdk.metrics  # noqa: F401  # with it, no process sleeps until it records
import pytest

import metertap
from metertap.runtime import running
from metertap_exporters.http.app import App
from metertap_exporters.http.endpoint import Endpoint
from support.http import get
from support.programs import run
from support.waiting import wait_for
from support.warned import warnings_of


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of loopback on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_nothing_listens_before_a_tool_or_a_cache_is_seen() -> None:
    with metertap.instrument(prometheus=True) as tap:
        endpoints = tap.diagnosis()["endpoints"]
        assert [(item["name"], item["url"]) for item in endpoints] == [
            ("json", None),
            ("prometheus", None),
        ]
        assert tap.pipeline.json is not None
        assert tap.pipeline.json.endpoint.wait(0.1) is None


@pytest.mark.parametrize("see", [lambda: metertap.cache_meter("c"), lambda: metertap.tool(print)])
def test_endpoints_listen_once_a_tool_or_a_cache_is_seen(see: object) -> None:
    with metertap.instrument(prometheus=True) as tap:
        assert callable(see)
        see()
        for url in (wait_for(lambda: tap.json_url), wait_for(lambda: tap.prometheus_url)):
            assert url.startswith("http://127.0.0.1:")
            assert get(url + "/metrics").status == 200


def test_where_they_listen_is_told_with_our_name_and_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "metertap")
    with metertap.instrument(prometheus=True, announce=True) as tap:
        metertap.cache_meter("c")
        json_url = wait_for(lambda: tap.json_url)
        prometheus_url = wait_for(lambda: tap.prometheus_url)
        told = {
            f"metertap: {json_url}/ shows the tools and caches of this program",
            f"metertap: Prometheus at {prometheus_url}/metrics",
        }
        wait_for(lambda: {record.getMessage() for record in caplog.records} == told)
        for line in told:
            (address,) = [word for word in line.split() if word.startswith("http")]
            assert get(address).status == 200
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_endpoints_listen_at_once_where_something_was_seen_before() -> None:
    metertap.cache_meter("c").hit()
    with metertap.instrument() as tap:
        assert get(wait_for(lambda: tap.json_url) + "/healthz").status == 200


def test_a_worker_that_may_take_the_port_while_it_is_refused_it_takes_it() -> None:
    endpoint = Endpoint("json", App({}), "127.0.0.1", 0, explicit=True, variable="PORT")
    asked: list[bool] = []

    def may_bind() -> bool:
        asked.append(bool(asked))
        if not asked[-1]:
            endpoint.start()  # another thread has just been given the place of an ended worker
        return asked[-1]

    endpoint.may_bind = may_bind
    endpoint.start()
    try:
        assert get(wait_for(lambda: endpoint.url) + "/healthz").status in {200, 404}
    finally:
        endpoint.stop()
    assert asked == [False, True]


def test_an_endpoint_that_was_stopped_before_its_thread_lists_it_is_not_listed() -> None:
    with metertap.instrument() as tap:
        metertap.cache_meter("c")
        assert wait_for(lambda: tap.json_url)
        assert tap.pipeline.json is not None
        endpoint = tap.pipeline.json.endpoint
        list_it = endpoint._on_bound
        assert wait_for(running.running)
    assert list_it is not None
    list_it(endpoint)  # as by a thread that a busy machine has kept waiting
    assert running.running() == []


def test_a_default_port_that_is_taken_moves_on_with_one_warning(
    taken: int, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = Endpoint("json", App({}), "127.0.0.1", taken, explicit=False, variable="A_PORT")
    endpoint.start()
    url = endpoint.wait(60)
    endpoint.stop()
    assert url is not None
    port = int(url.rpartition(":")[2])
    assert port not in {taken, 9108, 9109}
    holder = f"process {os.getpid()}" if Path("/proc/net/tcp").exists() else "another process"
    assert warnings_of(caplog) == [
        f"port {taken} is in use by {holder}; json is served at http://127.0.0.1:{port} "
        "instead (metertap open finds it, A_PORT sets the port)"
    ]


def test_a_port_of_a_stranger_is_not_waited_for(taken: int) -> None:
    endpoint = Endpoint("json", App({}), "127.0.0.1", taken, explicit=False, variable="A_PORT")
    endpoint.patience_seconds = 1e9  # as where workers share the address
    endpoint.start()
    try:
        assert endpoint.wait(60) is not None
    finally:
        endpoint.stop()


def test_the_port_that_the_workers_had_is_taken_again_without_a_warning(
    taken: int, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    noted: list[tuple[str, int]] = []
    endpoint = Endpoint("json", App({}), "127.0.0.1", taken, explicit=False, variable="A_PORT")
    endpoint.patience_seconds = 1e9
    endpoint.kept_port = lambda _label: (free_port, True)
    endpoint.keep_port = lambda label, port: noted.append((label, port))
    endpoint.start()
    try:
        assert endpoint.wait(60) == f"http://127.0.0.1:{free_port}"
    finally:
        endpoint.stop()
    assert noted == [("json", free_port)]
    assert warnings_of(caplog) == []


def test_where_the_workers_lose_their_port_the_new_address_is_told(
    taken: int, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = Endpoint("json", App({}), "127.0.0.1", free_port, explicit=False, variable="A_PORT")
    endpoint.patience_seconds = 1e9
    endpoint.kept_port = lambda _label: (taken, False)  # whoever had it has ended
    endpoint.start()
    try:
        assert endpoint.wait(60) == f"http://127.0.0.1:{free_port}"
    finally:
        endpoint.stop()
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"port {taken} is in use by ")
    assert f"json is served at http://127.0.0.1:{free_port} instead" in warning


def test_whoever_waits_for_a_port_says_so(taken: int) -> None:
    told: list[str | None] = []
    endpoint = Endpoint("json", App({}), "127.0.0.1", taken, explicit=True, variable="A_PORT")
    endpoint.patience_seconds = 1e9
    endpoint.on_bound(lambda one: told.append(one.problem))
    endpoint.start()
    try:
        wait_for(lambda: told)
        assert endpoint.is_starting
        assert str(told[0]).startswith(f"it waits: port {taken} is in use by ")
    finally:
        endpoint.stop()


def test_where_a_default_port_moves_on_to_is_never_anothers_default() -> None:
    # The JSON endpoint must not sit where a Prometheus looks for the other one, nor vice versa.
    for port in (9108, 9109):
        endpoint = Endpoint("any", App({}), "127.0.0.1", port, explicit=False, variable="")
        first, *others = endpoint._ports()
        assert first == port
        assert not {9108, 9109} & set(others)
        assert others[-1] == 0


def test_an_explicit_port_that_is_taken_is_one_warning_and_no_endpoint(
    taken: int, caplog: pytest.LogCaptureFixture
) -> None:
    with metertap.instrument(json_port=taken, prometheus=True, prometheus_port=taken) as tap:
        metertap.record_tool_call("search", True, 1.0)
        wait_for(lambda: len(warnings_of(caplog)) == 2)
        metertap.record_tool_call("find", True, 1.0)
        assert (tap.json_url, tap.prometheus_url) == (None, None)
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
        problem = f"127.0.0.1:{taken} cannot be bound: Address already in use"
        problems = [
            f"{problem} ({variable}=0 takes any free port)"
            for variable in ("METRICS_JSON_PORT", "PROMETHEUS_PORT")
        ]
        assert [item["problem"] for item in tap.diagnosis()["endpoints"]] == problems
    assert sorted(warnings_of(caplog)) == [
        f"json is not served: {problems[0]}",
        f"prometheus is not served: {problems[1]}",
    ]


def test_a_host_that_cannot_be_bound_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    # 192.0.2.0/24 is for documentation: no machine has such an address.
    endpoint = Endpoint("json", App({}), "192.0.2.1", 0, explicit=False, variable="A_PORT")
    endpoint.start()
    assert endpoint.wait(60) is None
    assert len(warnings_of(caplog)) == 1
    assert "json is not served: 192.0.2.1:0 cannot be bound" in warnings_of(caplog)[0]
    assert warnings_of(caplog)[0].endswith(" (A_HOST sets the address)")


def test_it_serves_on_ipv6_loopback() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    endpoint = Endpoint("json", App({}), "::1", 0, explicit=True, variable="A_PORT")
    endpoint.start()
    url = endpoint.wait(60)
    if url is None:
        pytest.skip("this machine has no [::1]")
    try:
        assert url.startswith("http://[::1]:")
        assert get(url + "/").status == 404
    finally:
        endpoint.stop()


PROGRAM = """
import socket, threading
import metertap
tap = metertap.instrument(prometheus=True)
metertap.record_tool_call("search", True, 1.0)
for endpoint in (tap.pipeline.json.endpoint, tap.pipeline.prometheus.endpoint):
    assert endpoint.wait(60), endpoint.problem
# A client that is being served does not hold the program either.
client = socket.create_connection(("127.0.0.1", int(tap.json_url.rpartition(":")[2])))
client.send(b"GET /metr")
while not any("metertap-request" in thread.name for thread in threading.enumerate()):
    threading.Event().wait(0.01)
print([thread.name for thread in threading.enumerate() if not thread.daemon])
"""


def test_a_program_ends_while_its_endpoints_are_open() -> None:
    program = run(sys.executable, "-c", PROGRAM)
    assert (program.status, program.stdout, program.told) == (0, b"['MainThread']\n", "")


def test_an_endpoint_that_is_stopped_waits_for_no_port_any_more(
    taken: int, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = Endpoint("patient", App({}), "127.0.0.1", taken, explicit=True, variable="PORT")
    endpoint.patience_seconds = 1e9
    endpoint.start()
    thread = next(one for one in threading.enumerate() if one.name == "metertap-patient")
    endpoint.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert endpoint.url is None
    assert warnings_of(caplog) == []
