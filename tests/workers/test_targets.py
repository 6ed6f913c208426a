"""What a Prometheus is to scrape: each worker is a target of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.cli import main
from metertap.runtime import running
from metertap.tables import document
from metertap.tables.figures import workers_told
from support.dripping import HEAD, answering
from support.http import get
from support.waiting import wait_for


def test_the_file_has_what_each_endpoint_says_of_itself(tmp_path: Path) -> None:
    out = tmp_path / "targets.json"
    with metertap.instrument(prometheus=True, service_name="shop") as tap:
        metertap.record_tool_call("search", True, 5.0)
        url = wait_for(lambda: tap.prometheus_url)
        wait_for(lambda: [process.prometheus_url for process in running.running()] == [url])
        assert main(["targets", "--out", str(out)]) == 0
        address = url.removeprefix("http://")
        assert json.loads(out.read_text()) == [
            {"targets": [address], "labels": {"service": "shop"}}
        ]
        assert get(f"{url}/targets").json() == json.loads(out.read_text())
        assert list(tmp_path.glob(".targets*")) == []
    assert main(["targets", "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == []


def test_a_file_that_cannot_be_written_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["targets", "--out", str(tmp_path / "no" / "targets.json")]) == 1
    assert capsys.readouterr().err.startswith("metertap targets: ")
    assert main(["targets"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_process_without_prometheus_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with metertap.instrument(json_port=0) as tap:
        metertap.record_tool_call("search", True, 1.0)
        wait_for(lambda: tap.json_url)
        wait_for(lambda: running.running())
        assert main(["targets"]) == 0
        assert "PROMETHEUS_ENABLED=true makes one" in capsys.readouterr().err


def test_nobody_elses_link_is_followed_and_nothing_but_a_file_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out = tmp_path / "mine", tmp_path / "targets.json"
    mine.write_text("mine")
    (tmp_path / f".{out.name}.{os.getpid()}").symlink_to(mine)
    assert main(["targets", "--out", str(out)]) == 0
    assert (mine.read_text(), json.loads(out.read_text())) == ("mine", [])
    assert not out.is_symlink()
    for place in ("/dev/null", str(tmp_path), ""):
        assert main(["targets", "--out", place]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    "told",
    [
        {"targets": ["169.254.169.254:80"], "labels": {}},
        {"targets": [], "labels": {}},
        {"targets": ["OWN"], "labels": {"__metrics_path__": "/admin"}},
        {"targets": ["OWN"], "labels": {"__address__": "other:80"}},
        {"targets": ["OWN"], "labels": {"__param_target": "other"}},
        {"targets": ["OWN"], "labels": {"no name": "x"}},
        {"targets": ["OWN"], "labels": {"": "x"}},
    ],
)
def test_a_process_sends_prometheus_nowhere_else(
    told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(handler: Any) -> None:
        address = f"127.0.0.1:{handler.server.server_port}"
        handler.wfile.write(HEAD + json.dumps([told]).replace("OWN", address).encode())

    with answering(answer) as address:
        running.register("shop", None, f"http://{address}")
        try:
            assert main(["targets"]) == 0
        finally:
            running.unregister()
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    assert "it answers what is not its own address" in err


def test_one_worker_alone_answers_to_its_id_and_to_no_other() -> None:
    with metertap.instrument(prometheus=True) as tap:
        metertap.record_tool_call("search", True, 5.0)
        url, prometheus = wait_for(lambda: tap.json_url), wait_for(lambda: tap.prometheus_url)

        document = get(f"{url}/metrics?worker={os.getpid()}").json()
        assert document["tool_metrics"]["search"]["total_calls"] == 1
        assert document["workers"] is None
        assert get(f"{url}/metrics?worker=1").status == 404
        assert f'worker="{os.getpid()}"' in get(f"{prometheus}/metrics?worker=each").body.decode()
        assert get(f"{prometheus}/metrics?worker=x").status == 404


def test_tables_say_whose_figures_they_are() -> None:
    reasons = {"not reached": "no answer within 0.25 s"}

    def told(*states: str, ended: int = 0, killed: int = 0) -> str:
        workers = [
            document.Worker(pid=number, state=state, age_seconds=3.2, reason=reasons.get(state))
            for number, state in enumerate(states, 1)
        ]
        found = {"workers": workers, "ended_workers": ended, "killed_workers": killed}
        return workers_told(found)  # type: ignore[arg-type]

    assert told() == ""
    assert told("holds the port") == "1 worker"
    assert told("holds the port", "reached") == "2 workers"
    assert told("holds the port", ended=7) == (
        "1 worker (7 ended, whose calls are counted but not in percentiles)"
    )
    assert told("holds the port", ended=7, killed=1) == (
        "1 worker (7 ended, whose calls are counted but not in percentiles; "
        "1 killed: up to its last second may be missing)"
    )
    assert told("reached", "not reached", "left") == (
        "3 workers (2 not reached: no answer within 0.25 s, as of 3 s ago; 3 left, as of 3 s ago)"
    )
