"""Every configuration block of docs/clients.md starts a server that works and is measured."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from servers.otlp_receiver import receiver
from support.json_rpc import SESSION, talk
from support.programs import METERTAP, PROGRAMS, ended, run, started
from support.waiting import wait_for

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
BLOCKS = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", PAGE, re.S | re.M)]

CALLS = {
    "time": ("get_current_time", {"timezone": "UTC"}),
    "shop": ("add", {"a": 1, "b": 2}),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """metertap as it would be published."""
    if shutil.which("uvx") is None:
        pytest.skip("uv is not on PATH: pip install uv")
    folder = tmp_path_factory.mktemp("dist")
    build = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A uv project with an MCP server in it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.10"\n'
        'dependencies = ["mcp"]\n'
    )
    shutil.copy(PROGRAMS / "shop.py", folder / "server.py")
    return folder


def _server(block: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    ((name, server),) = (block.get("mcpServers") or block["servers"]).items()
    return name, server


def test_the_page_has_blocks_for_both_forms_of_configuration() -> None:
    assert {next(iter(block)) for block in BLOCKS} == {"mcpServers", "servers"}


@pytest.mark.real
@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{n}" for n in range(len(BLOCKS))])
def test_a_block_starts_a_measured_server(block: Any, wheel: Path, project: Path) -> None:
    name, server = _server(block)
    places = {
        "metertap": str(wheel),
        "metertap[otlp]": f"metertap[otlp] @ {wheel.as_uri()}",
    }
    command = [server["command"], *server["args"]]
    with_what = [index + 1 for index, word in enumerate(command) if word == "--with"]
    for index in with_what:
        command[index] = places[command[index]]
    venv = str(Path(sys.executable).parent.parent)
    command = [
        word.replace("/path/to/venv", venv).replace("/path/to/project", str(project))
        for word in command
    ]
    tool, arguments = CALLS[name]
    session = [*SESSION[:2], ("tools/list", {}), ("tools/call", _params(tool, arguments))]
    with receiver() as collector:
        env = dict(server["env"])
        pushes = "OTEL_EXPORTER_OTLP_ENDPOINT" in env
        if pushes:
            env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
        with started(command, env=env) as process:
            answers = talk(process, session).splitlines()
            assert json.loads(answers[-1])["result"]["isError"] is False
            # The endpoint opens with the call, a moment after its answer.
            shown = wait_for(lambda: run(METERTAP, "snapshot", "--json").stdout, 60)
            (document,) = json.loads(shown)
            assert ended(process).status == 0
    assert document["tool_metrics"][tool]["successful_calls"] == 1
    assert collector.tool_calls() == ({(tool, "ok"): 1} if pushes else {})


def _params(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"name": tool, "arguments": arguments}
