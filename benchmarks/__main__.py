"""`python -m benchmarks`: the table; `--json FILE` keeps it, `--compare FILE` tells regressions."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measuring import Result

BASELINE = Path(__file__).with_name("baseline.json")
GROUPS = {
    "calls": "calls:tool_calls",
    "lines": "lines:dispatchers",
    "caches": "calls:cache_events",
    "cachetools": "lookups:patched",
    "lru_cache": "lookups:read",
    "observing": "lookups:observing",
    "mcp": "mcp:requests",
    "langchain_tools": "langchain_tools:runs",
    "pydantic_ai_tools": "pydantic_ai_tools:calls",
    "openai_agents_tools": "openai_agents_tools:calls",
    "document": "views:document",
    "memory": "views:memory",
    "page": "page:open_page",
    "scrape": "views:scrape",
    "tools": "scale:tools",
    "threads": "scale:threads",
    "start": "start:imports",
}
"""Module and function; imported when they run, since some need libraries that others do not."""


def main() -> int:
    """Run, print, and return 1 if something got worse than the baseline allows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--rounds", type=int, default=31, help="more are steadier (31)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="?",
        const=BASELINE,
        metavar="FILE",
        help="exit with 1 if a ratio is worse than in FILE (the stored baseline) by --slack",
    )
    parser.add_argument("--slack", type=float, default=0.25, help="worse by how much (0.25)")
    given = parser.parse_args()
    if unknown := set(given.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")

    results = []
    print(_line("row", "against", "ratio", "quartiles", "at most", "ours"))
    for name in given.groups or GROUPS:
        module, _, function = GROUPS[name].partition(":")
        group = getattr(importlib.import_module(f"benchmarks.{module}"), function)
        for item in group(given.rounds):
            results.append(item)
            print(_shown(item), flush=True)
    missed = [item for item in results if not item.is_met]
    print(f"\n{len(results) - len(missed)} of {len(results)} within their limits")
    if given.json:
        given.json.write_text(json.dumps(_document(results), indent=1) + "\n")
    return _compare(results, given.compare, given.slack) if given.compare else 0


def _line(*cells: str) -> str:
    return "{:<34} {:<28} {:>8}  {:>15}  {:>8}  {:>10}".format(*cells)


def _shown(item: Result) -> str:
    limit = "" if item.limit is None else f"{item.limit:g}"
    mark = "" if item.is_met else "  missed"
    quartiles = f"{item.ratio.low:.3f} {item.ratio.high:.3f}"
    ours = f"{item.seconds * 1e6:,.2f} µs"
    cells = _line(item.row, item.against, f"{item.ratio.median:.3f}", quartiles, limit, ours)
    return cells + mark


def _document(results: list[Result]) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "opentelemetry-sdk": metadata.version("opentelemetry-sdk"),
        "metertap": metadata.version("metertap"),
        "results": [dataclasses.asdict(item) for item in results],
    }


def _compare(results: list[Result], baseline: Path, slack: float) -> int:
    kept = {
        (item["row"], item["against"]): item["ratio"]["median"]
        for item in json.loads(baseline.read_text())["results"]
    }
    worse = [
        f"{item.row} / {item.against}: {before:.3f} before, {item.ratio.median:.3f} now"
        for item in results
        if (before := kept.get((item.row, item.against))) is not None
        and item.ratio.low > before * (1 + slack)
    ]
    print("\n".join(["", "Worse than the baseline:", *worse] if worse else ["", "No regression."]))
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
