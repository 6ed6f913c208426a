"""`metertap open`: the page of the process that runs, in the user's browser."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

import metertap
from metertap.cli import main
from metertap.runtime.running import running
from support.programs import METERTAP, Ended, run, started
from support.waiting import wait_for

pytestmark = pytest.mark.programs

CODE = "import metertap; metertap.instrument(); metertap.cache_meter('c').hit(); input()"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what the user's browser was told to open."""
    browser, file = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" >> "{file}"\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    return file


def shown(*arguments: str) -> Ended:
    return run(METERTAP, "open", *arguments)


def test_the_page_of_the_one_that_runs_is_opened(opened: Path) -> None:
    with metertap.instrument(service_name="shop") as tap:
        metertap.record_tool_call("search", True, 1.0)
        address = wait_for(lambda: tap.json_url) + "/"
        wait_for(running)
        done = shown()
    assert (done.status, done.stdout.decode(), done.told) == (0, f"{address}\n", "")
    assert opened.read_text() == f"{address}\n"


def test_a_page_may_be_named_by_port_process_id_or_service(opened: Path) -> None:
    with metertap.instrument(service_name="shop") as tap:
        metertap.record_tool_call("search", True, 1.0)
        url = wait_for(lambda: tap.json_url)
        wait_for(running)
        for name in (url.rpartition(":")[2], str(os.getpid()), "shop", url):
            assert shown(name).status == 0
    assert opened.read_text() == f"{url}/\n" * 4


def test_where_nothing_answers_it_says_so_and_what_runs(opened: Path, free_port: int) -> None:
    with metertap.instrument(service_name="shop") as tap:
        metertap.record_tool_call("search", True, 1.0)
        url = wait_for(lambda: tap.json_url)
        wait_for(running)
        done = shown(str(free_port))
    assert (done.status, done.stdout) == (1, b"")
    assert f"nothing answers at http://127.0.0.1:{free_port} (" in done.told
    assert f"shop pid {os.getpid()} at {url}/" in done.told
    assert "no measured process" in shown(str(free_port)).told
    assert "nothing answers at http://127.0.0.1:65536 (" in shown("65536").told  # a process id
    with metertap.instrument(json_endpoint=False, service_name="shop"):
        assert "its JSON endpoint is switched off" in shown(str(os.getpid())).told
    assert not opened.exists()


def test_a_name_that_nobody_has_is_not_opened_as_a_host(
    opened: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # whatever this machine's resolver says
    assert main(["open", "shpo"]) == 1
    assert "nothing answers at http://shpo (" in capsys.readouterr().err
    assert not opened.exists()


def test_of_two_services_both_are_named_and_none_is_opened(opened: Path) -> None:
    with (
        started([sys.executable, "-c", CODE], env={"OTEL_SERVICE_NAME": "one"}),
        started([sys.executable, "-c", CODE], env={"OTEL_SERVICE_NAME": "two"}),
    ):
        wait_for(lambda: len(running()) == 2)
        done = shown()
    assert done.status == 1
    assert sorted(line.split()[1] for line in done.stdout.decode().splitlines()) == ["one", "two"]
    assert not opened.exists()


def test_where_nothing_runs_it_says_so(opened: Path) -> None:
    done = shown()
    assert done.status == 1
    assert "no measured process" in done.told
    assert not opened.exists()


def test_a_process_that_has_no_page_is_named(opened: Path) -> None:
    with metertap.instrument(json_endpoint=False, service_name="shop"):
        assert "shop pid" in shown().told
