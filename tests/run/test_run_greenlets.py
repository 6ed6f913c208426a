"""Under `metertap run`, gevent finds what it patches as it would without metertap."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.ports import free_port
from support.programs import RUN, run

pytestmark = pytest.mark.programs

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import json, sys, threading
import gevent
from urllib3.util.ssl_ import create_urllib3_context
import metertap

@metertap.tool
def search(number):
    gevent.sleep(0)
    create_urllib3_context()
    return number

jobs = [gevent.spawn(search, number) for number in range(20)]
gevent.joinall(jobs, raise_error=True)
thread = threading.Thread(target=search, args=(20,))
thread.start()
thread.join()
found = metertap.get_all_metrics()["tool_metrics"]["search"]
print(json.dumps([found["total_calls"], found["active_calls"], found["error_types"]]))
sys.exit(5)
"""


@pytest.mark.parametrize("name", ["METRICS_JSON_PORT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
@pytest.mark.parametrize("command", [["program.py"], ["-m", "gevent.monkey", "program.py"]])
def test_a_program_that_gevent_patches_first_runs_as_it_does_without(
    name: str, command: list[str], tmp_path: Path
) -> None:
    program = PROGRAM.replace("monkey.patch_all()", "") if "-m" in command else PROGRAM
    (tmp_path / "program.py").write_text(program)
    port = free_port()
    env = {name: str(port) if "PORT" in name else f"http://127.0.0.1:{port}"}
    done = run(
        *RUN, sys.executable, *command, env={**env, "METERTAP_ANNOUNCE": "false"}, cwd=tmp_path
    )
    assert done.status == 5, done.told
    assert json.loads(done.stdout) == [21, 0, {}]
    # Nobody listens to what is pushed; that is said, and nothing else.
    lines = [line for line in done.told.splitlines() if "could not be delivered" not in line]
    assert lines == []


def test_a_program_that_only_speaks_of_gevent_is_measured_from_its_first_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "program.py").write_text(
        "# no gevent here\nimport sys\nprint('metertap.state' in sys.modules)\n"
    )
    env = {"METRICS_JSON_PORT": str(free_port()), "METERTAP_ANNOUNCE": "false"}
    done = run(*RUN, sys.executable, "program.py", env=env, cwd=tmp_path)
    assert (done.status, done.stdout) == (0, b"True\n"), done.told
