"""The documentation as a site: it builds, has every page and name, and its programs run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import metertap
from metertap.catalogue import Metric
from metertap.settings.table import TABLE

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
ASK = "import asyncio\nasyncio.run(ask())\n"

# What is done with a program of the pages after it has run, and the tools or caches it is to show.
USED: dict[str, tuple[str, set[str]]] = {
    "An MCP server on stdio": (
        "from mcp import Client\n"
        "async def ask():\n"
        "    async with Client(server) as client:\n"
        "        await client.call_tool('add', {'a': 1, 'b': 2})\n" + ASK,
        {"add"},
    ),
    "An MCP server over HTTP": (
        "from mcp import Client\n"
        "async def ask():\n"
        "    async with Client(server) as client:\n"
        "        await client.call_tool('add', {'a': 1, 'b': 2})\n"
        "assert callable(app)\n" + ASK,
        {"add"},
    ),
    "An MCP client": (
        "found = metertap.get_all_metrics()['operations']\n"
        "assert ('client', 'tools/call', 'get_current_time') in "
        "{(item['side'], item['method'], item['name']) for item in found}",
        set(),
    ),
    "fastmcp": (
        "from fastmcp import Client\n"
        "async def ask():\n"
        "    async with Client(server) as client:\n"
        "        await client.call_tool('add', {'a': 1, 'b': 2})\n" + ASK,
        {"add"},
    ),
    "LangChain and LangGraph": ("", {"price"}),
    "A notebook": ("assert '>price<' in tap._repr_html_()", {"price"}),
    "OpenAI Agents SDK": ("assert agent.tools[0].name == 'price'", set()),
    "pydantic-ai": ("", {"price"}),
    "Claude Agent SDK": ("assert server['name'] == 'shop'", set()),
    "FastAPI": (
        "from starlette.testclient import TestClient\n"
        "assert TestClient(app).get('/price/eur').status_code == 200",
        {"price", "program.rate"},
    ),
    "gunicorn": ("app({'PATH_INFO': '/tea'}, lambda status, headers: None)", {"price"}),
    "Django": ("", {"order"}),
    "A WebSocket server": ("", {"add"}),
    "Your own dispatcher": ("", {"add"}),
    "Your own cache": ("", {"prices"}),
    "A log instead of a page": ("", {"price"}),
    "FastAPI and Starlette": (
        "from starlette.testclient import TestClient\n"
        "metertap.record_tool_call('price', True, 1.0)\n"
        "client, expected = TestClient(app), globals().get('expected', b'')\n"
        "assert client.get('/meter/metrics').status_code == (401 if expected else 200)\n"
        "answer = client.get('/meter/metrics', headers={'Authorization': expected.decode()})\n"
        "assert 'price' in answer.json()['tool_metrics']",
        {"price"},
    ),
    "metertap": ("", set()),
}
TESTED_ELSEWHERE = {("mounting.md", "Django"), ("testing.md", "Tests")}
"""The view of Django, by `tests/runtime/test_mounting.py`, and the test, below."""


class Block(NamedTuple):
    """A program on a page."""

    page: str
    heading: str
    code: str


def blocks(*names: str) -> list[Block]:
    found = []
    for name in names:
        heading = ""
        text = (DOCS / name).read_text(encoding="utf-8")
        for match in re.finditer(r"^#+ ([^\n]+)$|^```python\n(.*?)^```$", text, re.M | re.S):
            if match[1]:
                heading = match[1]
            else:
                found.append(Block(name, heading, match[2]))
    return found


PROGRAMS = [
    block
    for block in blocks("index.md", "quickstarts.md", "mounting.md", "testing.md")
    if block[:2] not in TESTED_ELSEWHERE
]


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.heading)
def test_every_program_of_the_quickstarts_runs_and_is_measured(
    block: Block, tmp_path: Path
) -> None:
    use, names = USED[block.heading]
    (tmp_path / "program.py").write_text(block.code)
    check = (
        f"from program import *\nimport metertap\n{use}\n"
        "found = metertap.get_all_metrics()\n"
        f"missing = {names!r} - {{*found['tool_metrics'], *found['cache_metrics']}}\n"
        "assert found['enabled'] and not missing, missing\n"
    )
    (tmp_path / "check.py").write_text(check)
    done = subprocess.run(
        [sys.executable, "check.py"], cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr


def test_the_view_for_django_is_the_one_that_is_tested() -> None:
    (block,) = (item for item in blocks("mounting.md") if item.heading == "Django")
    tested = (ROOT / "tests" / "runtime" / "test_mounting.py").read_text(encoding="utf-8")
    view = block.code[block.code.index("@login_required") :]
    assert without_blank_lines(view) in without_blank_lines(tested)


def without_blank_lines(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if line.strip())


def test_the_test_of_the_page_about_tests_passes(tmp_path: Path) -> None:
    (block,) = blocks("testing.md")
    (tmp_path / "test_shop.py").write_text(block.code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"^ +- .+: (\S+\.md)$", SETTINGS, re.M)
    made_while_building = {"catalogue.md", "document.md"}
    assert sorted(listed) == sorted({path.name for path in DOCS.glob("*.md")} | made_while_building)


def test_every_public_name_is_in_the_reference() -> None:
    reference = (DOCS / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: (\S+)$", reference, re.M))
    homes = {f"{module}.{name}" for name, module in metertap._HOME.items()}
    assert named == homes


@pytest.mark.parametrize("keyword", TABLE)
def test_every_setting_is_in_the_reference(keyword: str) -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert f"`{keyword}`" in page
    assert f"`{TABLE[keyword][0]}`" in page


def test_every_metric_is_in_the_reference() -> None:
    from metertap import catalogue

    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    metrics = [item for item in vars(catalogue).values() if isinstance(item, Metric)]
    assert {item.name for item in metrics if f"`{item.name}`" not in page} == set()
    for metric in metrics:
        if metric.buckets:
            row = next(line for line in page.splitlines() if f"`{metric.name}`" in line)
            assert f"| histogram, {metric.unit} |" in row


def test_assistants_are_told_of_pages_that_exist() -> None:
    told = re.findall(r"\]\(([^)]+)\)", (DOCS / "llms.txt").read_text(encoding="utf-8"))
    assert told
    assert [name for name in told if not (DOCS / name).exists()] == []


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")  # an extra of its own, which CI has
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert "window_size" in page
    assert (tmp_path / "site" / "llms.txt").exists()
    document = (tmp_path / "site" / "document" / "index.html").read_text(encoding="utf-8")
    assert "p95_latency_ms" in document
    instruments = (tmp_path / "site" / "catalogue" / "index.html").read_text(encoding="utf-8")
    assert "gen_ai.execute_tool.duration" in instruments
    fetched = re.findall(r'<(?:script|link)[^>]+(?:src|href)="(https?://[^"]+)"', page)
    assert fetched == []  # a reader without a network sees it whole
