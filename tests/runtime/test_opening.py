"""Endpoints that are known to somebody open at once; those of a supervisor do not."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

import metertap
from metertap.runtime import opening
from support import ports
from support.http import get
from support.programs import RUN, run, started
from support.waiting import wait_for


def test_a_port_that_is_set_is_answered_before_anything_is_measured(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRICS_JSON_PORT", str(free_port))
    with metertap.instrument() as tap:
        assert wait_for(lambda: tap.json_url) == f"http://127.0.0.1:{free_port}"
        assert get(f"{tap.json_url}/doctor").json()["active"] is True
        assert get(f"{tap.json_url}/metrics").json()["tool_metrics"] == {}


def test_a_prometheus_port_that_is_set_is_answered_before_anything_is_measured(
    free_port: int,
) -> None:
    with metertap.instrument(prometheus=True, prometheus_port=free_port) as tap:
        url = wait_for(lambda: tap.prometheus_url)
        assert url == f"http://127.0.0.1:{free_port}"
        assert get(url + "/metrics").status == 200
        assert tap.json_url is None  # a port that the system chooses waits for its first tool


WHERE = """
import sys, time, metertap
from metertap.runtime.tap import active_tap
if sys.argv[1:] == ["instrument"]:
    metertap.instrument()
print(active_tap().pipeline.json.endpoint.wait(WAIT))
"""


@pytest.fixture
def unused_port() -> int:
    """Another port of 127.0.0.1 that nobody listens on now."""
    return ports.free_port()


def where(*command: str, wait: float, **env: str | None) -> str:
    done = run(*command, env={"METRICS_JSON_PORT": None, **env})
    assert done.status == 0, done.told
    return done.stdout.decode().strip()


def test_the_default_port_is_opened_by_the_program_itself_and_not_by_run() -> None:
    program = ("-c", WHERE.replace("WAIT", "60"), "instrument")
    assert where(sys.executable, *program, wait=60).startswith("http://127.0.0.1:")
    program = ("-c", WHERE.replace("WAIT", "0"))
    assert where(*RUN, sys.executable, *program, wait=0) == "None"


def test_run_opens_a_port_that_is_set(free_port: int) -> None:
    program = ("-c", WHERE.replace("WAIT", "60"))
    found = where(*RUN, sys.executable, *program, wait=60, METRICS_JSON_PORT=str(free_port))
    assert found == f"http://127.0.0.1:{free_port}"


def test_children_of_multiprocessing_leave_the_port_to_their_parent(
    tmp_path: Path, free_port: int
) -> None:
    program = tmp_path / "program.py"
    program.write_text("""
import multiprocessing
import metertap
tap = metertap.instrument()

def child(answers):
    answers.put(tap.pipeline.json.endpoint.wait(0))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=child, args=(answers,))
    process.start()
    print(answers.get(timeout=50), tap.json_url)
    process.join()
""")
    done = run(sys.executable, str(program), env={"METRICS_JSON_PORT": str(free_port)})
    assert done.stdout.decode() == f"None http://127.0.0.1:{free_port}\n", done.told
    assert done.told == ""


@pytest.mark.parametrize("module", opening._SUPERVISORS)
def test_supervisors_are_where_they_are_looked_for(module: str) -> None:
    importlib.import_module(module)
    (watch,) = [item for item in opening.supervisor_watches(int) if item.module == module]
    watch.install()
    assert watch.bound == [f"{module}:{opening._SUPERVISORS[module]}"]
    watch.uninstall()


APPLICATION = """
import os, metertap
metertap.instrument(json_port=JSON_PORT)

def called():
    metertap.record_tool_call(f"in {os.getpid()}", True)

async def app(scope, receive, send):
    if scope["type"] == "http":
        called()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

def wsgi(environ, start_response):
    called()
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]

if __name__ == "__main__":
    import uvicorn
    uvicorn.run("shopapp:app", port=PORT, reload=True, log_level="warning")
"""


@pytest.mark.parametrize(
    "command",
    [
        pytest.param((sys.executable, "shopapp.py"), id="uvicorn, which reloads"),
        pytest.param(
            (sys.executable, "-m", "gunicorn", "--preload", "-b", "127.0.0.1:PORT", "shopapp:wsgi"),
            id="gunicorn, which preloads",
        ),
    ],
)
def test_a_supervisor_leaves_the_port_to_who_does_the_work(
    command: tuple[str, ...], tmp_path: Path, free_port: int, unused_port: int
) -> None:
    text = APPLICATION.replace("JSON_PORT", str(free_port)).replace("PORT", str(unused_port))
    (tmp_path / "shopapp.py").write_text(text)
    command = tuple(word.replace("PORT", str(unused_port)) for word in command)

    def served_by() -> str | None:
        try:
            return get(f"http://127.0.0.1:{unused_port}/").body.decode()
        except OSError:
            return None

    def measured() -> list[str] | None:
        try:
            served_by()
            return list(get(f"http://127.0.0.1:{free_port}/metrics").json()["tool_metrics"])
        except (OSError, json.JSONDecodeError):
            return None

    with started(command, cwd=tmp_path) as process:
        worker = wait_for(served_by, 60)
        assert int(worker) != process.pid
        assert wait_for(measured, 60) == [f"in {worker}"]
