"""docs/hardening.md: every command on it does what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from servers.real import program
from support.certificates import Authority
from support.programs import METERTAP, started

pytestmark = [pytest.mark.real, pytest.mark.programs]

PAGE = Path(__file__).parents[2] / "docs" / "hardening.md"
SECTIONS = {
    title: re.findall(r"```bash\n(.*?)```", text, re.S)
    for title, _, text in (part.partition("\n") for part in PAGE.read_text().split("\n## "))
}
SERVER = """
import time
import metertap
metertap.record_tool_call("search", True, 1.5)
time.sleep(300)
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the page names; its path is short enough for sockets."""
    with TemporaryDirectory(prefix="page") as made:
        (Path(made) / "runtime").mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{made}/runtime")
        yield filled(Path(made))


def filled(folder: Path) -> Path:
    authority = Authority(folder)
    for name, names in (("server", ("localhost", "127.0.0.1")), ("client", ("me",))):
        text = authority.issue(*names, to=name).read_text()
        key = text[: text.index("-----BEGIN CERTIFICATE")]
        (folder / f"{name}.key").write_text(key)
        (folder / f"{name}.pem").write_text(text.removeprefix(key))
    (folder / "server.py").write_text(SERVER)
    return folder


@contextmanager
def serving(line: str, folder: Path) -> Iterator[None]:
    with started(("bash", "-c", f"exec env {line}"), cwd=folder):
        yield


def asked(line: str, folder: Path) -> str:
    """Run a command until it succeeds and, if it shows anything, shows the call; its output."""
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(
            ("bash", "-c", line), cwd=folder, capture_output=True, text=True, timeout=120
        )
        if done.returncode == 0 and (not done.stdout or "search" in done.stdout):
            return done.stdout
        assert time.monotonic() < deadline, (line, done.stdout, done.stderr)
        time.sleep(0.1)


def test_the_page_has_commands() -> None:
    assert [title for title, blocks in SECTIONS.items() if blocks] == [
        "A token",
        "A Unix socket",
        "TLS",
        "Client certificates",
    ]


@pytest.mark.parametrize("title", [title for title, blocks in SECTIONS.items() if blocks])
def test_every_command_of_a_section_works(
    title: str, folder: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("curl")
    monkeypatch.delenv("METRICS_JSON_PORT")
    path = f"{Path(METERTAP).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    lines = "".join(SECTIONS[title]).replace("9109", str(free_port)).splitlines()
    seen = []
    with ExitStack() as server:
        for line in lines:
            words = shlex.split(line, comments=True)
            if "run" in words:
                server.close()  # the one before
                server.enter_context(serving(line, folder))
            else:
                seen.append(asked(line, folder))
    assert len([text for text in seen if text]) >= 2
