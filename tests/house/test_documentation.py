"""The documentation: what it points at exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from metertap_exporters.page.page import routes

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    """The relative links of a page, without what follows `#`."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    found = [link.partition("#")[0] for link in _LINK.findall(text)]
    return [link for link in found if link and "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = [link for link in links(page) if not (page.parent / link).exists()]
    assert not missing


def headings(page: Path) -> set[str]:
    """The anchors of a page: its headings in lower case, without signs, with `-` for spaces."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_anchor_is_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    missing = []
    for link in _LINK.findall(text):
        file, _, anchor = link.partition("#")
        if anchor and "://" not in link:
            there = page.parent / file if file else page
            if anchor not in headings(there):
                missing.append(link)
    assert not missing


def test_every_dashboard_is_on_its_page() -> None:
    page = (ROOT / "docs" / "grafana.md").read_text(encoding="utf-8")
    boards = (ROOT / "dashboards" / "provisioning" / "dashboards" / "metertap").glob("*.json")
    titles = {json.loads(board.read_text(encoding="utf-8"))["title"] for board in boards}
    assert titles == set(re.findall(r"^\| (metertap: [a-z ]+) \|", page, re.M))


def test_security_says_what_each_path_reveals() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert [path for path in routes() if path.endswith(".json") and f"`{path}`" not in page] == []


def test_the_readme_is_for_somebody_who_has_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
