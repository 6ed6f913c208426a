"""Programs that a measured program starts."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from metertap.runtime.running import running
from servers.otlp_receiver import receiver
from support.http import get
from support.programs import METERTAP, PROGRAMS, RUN, run, started
from support.waiting import wait_for

pytestmark = pytest.mark.programs

FAMILY = (sys.executable, str(PROGRAMS / "family.py"))
SAID = """\
{0}
{0}
fork 1
0
spawn 1
0
terminated -15
['parent']
"""


def test_children_are_not_measured_and_work() -> None:
    measured = run(*RUN, *FAMILY)
    assert measured.stdout.decode() == SAID.format(False)
    assert measured.stderr == b""


def test_children_are_measured_when_asked() -> None:
    measured = run(METERTAP, "run", "--children", "--", *FAMILY)
    assert measured.stdout.decode() == SAID.format(True)


def test_children_deliver_what_they_measured_when_they_end() -> None:
    with receiver() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        measured = run(METERTAP, "run", "--children", "--", *FAMILY, env=env)
    assert measured.stdout.decode() == SAID.format(True)
    assert collector.tool_calls() == {("parent", "ok"): 1, ("child", "ok"): 1}


APP = """
import functools
import uvicorn

@functools.lru_cache
def square(number):
    return number * number

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    square(3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"9"})

if __name__ == "__main__":
    import sys
    uvicorn.run("shopapp:app", lifespan="off", port=int(sys.argv[1]), workers=2)
"""
UVICORN = (sys.executable, "-m", "uvicorn", "shopapp:app", "--lifespan", "off", "--port")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (UVICORN, ("--reload",)),
        (UVICORN, ("--workers", "2")),
        ((sys.executable, "shopapp.py"), ()),
        ((str(Path(sys.executable).with_name("watchfiles")), "shopapp.serve"), ()),
        ((sys.executable, "-m", "hypercorn", "shopapp:app", "--bind"), ()),
        ((sys.executable, "-m", "granian", "shopapp:app", "--interface", "asgi", "--port"), ()),
    ],
    ids=["reload", "workers", "workers by a call", "watchfiles", "hypercorn", "granian"],
)
def test_what_a_reloader_or_a_master_of_workers_starts_is_measured(
    command: tuple[str, ...], options: tuple[str, ...], tmp_path: Path, free_port: int
) -> None:
    folder = (
        tmp_path / "app"
    )  # not where processes are listed: that would be a change to reload for
    folder.mkdir()
    serve = f"\ndef serve():\n    uvicorn.run(app, lifespan='off', port={free_port})\n"
    (folder / "shopapp.py").write_text(APP.replace("\nif __name__", serve + "\nif __name__"))
    port = () if "watchfiles" in command[0] else (str(free_port),)
    if "hypercorn" in command:
        port = (f"127.0.0.1:{free_port}",)
    env = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with started([*RUN, *command, *port, *options], env=env, cwd=folder) as process:
        wait_for(lambda: _answers(free_port), 60)

        def measured() -> bool:
            _answers(free_port)
            urls = [item.json_url for item in running() if item.json_url]
            return any(b"shopapp.square" in _document(url) for url in urls)

        wait_for(measured, 60)
        process.send_signal(signal.SIGTERM)


def _document(url: str) -> bytes:
    """Return the document at `url`; empty if a reloader has just ended that process."""
    try:
        return get(f"{url}/metrics").body
    except OSError:
        return b""


def _answers(port: int) -> bool:
    try:
        return get(f"http://127.0.0.1:{port}/").body == b"9"
    except OSError:
        return False
