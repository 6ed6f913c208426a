"""The command line as a whole: commands that do not exist, and streams that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import metertap
from metertap.cli import main
from metertap.runtime.running import unserved
from support.waiting import wait_for


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("snapsho", "snapsho is no command; did you mean snapshot?"),
        ("serve\x1b", "is no command: it is one of run, snapshot, costs, doctor, open, mcp, "),
    ],
)
def test_a_command_that_does_not_exist_is_told_with_a_suggestion(
    word: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 2
    (stdout, stderr) = capsys.readouterr()
    assert (stdout, told in stderr, "\x1b" in stderr) == ("", True, False)


CLOSED = "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"


@pytest.mark.programs
@pytest.mark.parametrize("closed", [0, 1, 2])
@pytest.mark.parametrize("command", ["snapshot", "rules --config CONFIG", "mcp"])
def test_a_closed_stream_ends_no_command_with_a_traceback(
    closed: int, command: str, tmp_path: Path
) -> None:
    if command == "mcp":
        pytest.importorskip("mcp")
    config = tmp_path / "pyproject.toml"
    config.write_text("[tool.metertap.alerts]\nerror_rate = 0.02\n")
    words = command.replace("CONFIG", str(config)).split()
    of_python = (sys.executable, "-m", "metertap", *words)
    found = subprocess.run(
        (sys.executable, "-c", CLOSED, str(closed), *of_python),
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=180,
    )
    assert b"Traceback" not in found.stderr + found.stdout
    assert found.returncode == (1 if command == "snapshot" else 0)


@pytest.mark.programs
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has it")
def test_a_full_device_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text("[tool.metertap.alerts]\nerror_rate = 0.02\n")
    with open("/dev/full", "wb") as full:
        found = subprocess.run(
            (sys.executable, "-m", "metertap", "rules", "--config", str(config)),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=180,
        )
    assert (found.returncode, found.stderr) == (
        1,
        b"metertap rules: [Errno 28] No space left on device\n",
    )


def test_costs_says_why_no_process_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["costs"]) == 1
    assert "no measured process of this user runs" in capsys.readouterr().err
    with metertap.instrument(json_endpoint=False, service_name="shop"):
        wait_for(unserved)
        assert main(["costs"]) == 1
    assert "is not shown: its JSON endpoint is switched off" in capsys.readouterr().err
