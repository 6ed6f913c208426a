"""Every way in which web servers are ended: their workers push, and the status is the server's.

These are rows of the table in docs/reliability.md.
"""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from servers.otlp_receiver import receiver
from support.endings import to
from support.programs import METERTAP, ended, started
from support.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="these are the ends that POSIX has"),
    pytest.mark.programs,
]

APP = """
import metertap
{instrument}

@metertap.tool
def search():
    pass

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("nothing but HTTP")
    search()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"found"}})
"""
UVICORN = "uvicorn shopapp:app --lifespan off --port"
# It ends workers that are not there after 5 seconds, as on a machine that is busy.
UVICORNS = "uvicorn --workers 2 --timeout-worker-healthcheck 60 shopapp:app --lifespan off --port"
HYPERCORN = "hypercorn shopapp:app --bind"
GRANIAN = "granian shopapp:app --interface asgi --port"
# It waits for ever for a worker that SIGTERM reaches while this imports the application.
GRANIANS = "granian --workers 2 --workers-kill-timeout 5 shopapp:app --interface asgi --port"
GUNICORN = "gunicorn -w 2 -k uvicorn.workers.UvicornWorker --graceful-timeout 60 shopapp:app -b"


@pytest.mark.parametrize("measured", ["instrument", "run"])
@pytest.mark.parametrize(
    ("server", "sent", "status"),
    [
        (UVICORN, signal.SIGTERM, -signal.SIGTERM),  # which it raises again when it has shut down
        (UVICORN, signal.SIGINT, 0),
        (UVICORNS, signal.SIGTERM, 0),
        (UVICORNS, signal.SIGINT, 0),
        (HYPERCORN, signal.SIGTERM, 0),
        (HYPERCORN, signal.SIGINT, 0),
        (HYPERCORN.replace(" ", " --workers 2 ", 1), signal.SIGTERM, 0),
        (GRANIAN, signal.SIGTERM, 0),
        (GRANIAN, signal.SIGINT, 0),
        (GRANIANS, signal.SIGTERM, 0),
        (GUNICORN, signal.SIGTERM, 0),
    ],
)
def test_a_web_server_and_its_workers_lose_nothing(
    server: str, sent: signal.Signals, status: int, measured: str, tmp_path: Path, free_port: int
) -> None:
    instrument = "metertap.instrument()" if measured == "instrument" else ""
    (tmp_path / "shopapp.py").write_text(APP.format(instrument=instrument))
    run = [METERTAP, "run", "--children", "--"] if measured == "run" else []
    is_address = server.endswith(("-b", "--bind"))
    address = f"127.0.0.1:{free_port}" if is_address else str(free_port)
    command = [*run, sys.executable, "-m", *server.split(), address]
    with receiver() as collector, started(command, env=to(collector), cwd=tmp_path) as process:
        wait_for(lambda: _get(free_port), 60)
        calls = 1 + sum(_get(free_port) for _ in range(20))
        process.send_signal(sent)
        found = ended(process)
    assert found.status == status, found.told
    assert calls == 21
    assert sum(collector.calls_by_process().values()) == calls


def _get(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            return bool(answer.read() == b"found")
    except OSError:
        return False
