"""Programs in odd surroundings: measured they say and end the same, and their calls arrive."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from servers.otlp_receiver import receiver
from support.programs import ended, run, started

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="these are POSIX's surroundings"),
    pytest.mark.programs,
]

PROGRAM = """
import os, sys, time
{surrounding}
if len(sys.argv) > 1:
    import metertap
    metertap.instrument()
    tool = metertap.tool
else:
    tool = lambda function: function
{later}

@tool
def search(text):
    return text.upper()

said = "".join(map(search, "abc"))
with open(__file__ + ".said", "w") as file:
    file.write(said)
sys.exit(3)
"""
SURROUNDINGS = {
    "closed stdio": ("for number in range(3): os.close(number)", ""),
    "a deleted working directory": (
        "import tempfile; folder = tempfile.mkdtemp(); os.chdir(folder); os.rmdir(folder)",
        "",
    ),
    "400 MB of address space": (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))",
        "",
    ),
    "a runtime folder that cannot be written": (
        "os.environ['XDG_RUNTIME_DIR'] = '/proc/self/fdinfo'",
        "",
    ),
    "a clock that is set back": ("", "then = time.time; time.time = lambda: then() - 86_400"),
    "a clock that is set forward": ("", "then = time.time; time.time = lambda: then() + 86_400"),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_program_is_the_same_and_its_calls_arrive(
    name: str, tmp_path: Path, free_port: int
) -> None:
    surrounding, later = SURROUNDINGS[name]
    path = tmp_path / "shop.py"
    path.write_text(PROGRAM.format(surrounding=surrounding, later=later))
    said = tmp_path / "shop.py.said"
    with receiver() as collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
            "METERTAP_HISTORY": str(tmp_path / "history.db"),
            "METRICS_JSON_PORT": str(free_port),
        }
        found = []
        for measured in ((), ("measured",)):
            ended_so = run(sys.executable, str(path), *measured, env=env)
            found.append((ended_so.status, ended_so.stdout, said.read_text()))
            said.unlink()
    assert found[0] == found[1] == (3, b"", "ABC")
    assert sum(collector.calls_by_process().values()) == 3


def test_a_program_that_was_stopped_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shop.py"
    path.write_text(
        "import sys, metertap\n"
        "metertap.instrument()\n"
        "search = metertap.tool(str.upper)\n"
        "for line in sys.stdin:\n"
        "    print(search(line), end='', flush=True)\n"
    )
    with receiver() as collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
        }
        with started([sys.executable, str(path)], env=env) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"a\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"A\n"
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            process.send_signal(signal.SIGCONT)
            found = ended(process, b"b\n")
    assert (found.status, found.stdout) == (0, b"B\n")
    assert sum(collector.calls_by_process().values()) == 2
