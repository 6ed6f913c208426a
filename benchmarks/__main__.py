"""`python -m benchmarks`: the table; `--json FILE` keeps it, `--compare FILE` tells regressions."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import known, summary
from benchmarks.comparing import Unreadable, compare, keep, kept
from benchmarks.measuring import Result

BASELINE = Path(__file__).with_name("baseline.json")
GROUPS = {
    "calls": "calls:tool_calls",
    "added": "added:calls",
    "peers": "peers:calls",
    "lines": "lines:dispatchers",
    "caches": "calls:cache_events",
    "cachetools": "lookups:patched",
    "lru_cache": "lookups:read",
    "stores": "stores:lookups",
    "observing": "lookups:observing",
    "mcp": "mcp:requests",
    "mcp_in_place": "mcp_in_place:calls",
    "mcp_peers": "mcp_peers:calls",
    "langchain_tools": "langchain_tools:runs",
    "pydantic_ai_tools": "pydantic_ai_tools:calls",
    "openai_agents_tools": "openai_agents_tools:calls",
    "claude_agent_sdk_tools": "claude_agent_sdk_tools:calls",
    "weight": "weight:results",
    "model_calls": "model_calls:calls",
    "document": "views:document",
    "memory": "views:memory",
    "page": "page:open_page",
    "scrape": "views:scrape",
    "lag": "lag:asked",
    "tools": "scale:tools",
    "threads": "scale:threads",
    "start": "start:imports",
    "run": "start:first_answer",
}
"""Module and function; imported when they run, since some need libraries that others do not."""


def main() -> int:
    """Run and print; return 1 if something got worse, or misses its limit and is not known to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--rounds", type=int, default=31, help="more are steadier (31)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument(
        "--from",
        type=Path,
        metavar="FILE",
        dest="source",
        help="measure nothing: take the results that --json wrote to FILE",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="?",
        const=BASELINE,
        metavar="FILE",
        help="exit with 1 if a ratio is worse than in FILE (the stored baseline) by --slack",
    )
    parser.add_argument(
        "--summary", action="store_true", help="print README's lines of what --from names, no table"
    )
    parser.add_argument("--slack", type=float, default=0.25, help="worse by how much (0.25)")
    given = parser.parse_args()
    if unknown := set(given.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    if given.source and given.groups:
        parser.error("--from takes all results of its file, and no groups")
    try:  # first: to measure takes minutes
        before = kept(given.compare) if given.compare else None
        ended: list[str] = []
        measured = (
            kept(given.source) if given.source else _measured(given.groups, given.rounds, ended)
        )
    except Unreadable as error:
        parser.error(str(error))

    if given.summary:
        print("\n".join(summary.lines(list(measured))))
        return 0
    results = []
    print(_line("row", "against", "ratio", "quartiles", "at most", "ours"))
    for item in measured:
        results.append(item)
        print(_shown(item), flush=True)
    missed = [item for item in results if not item.is_met]
    print(f"\n{len(results) - len(missed)} of {len(results)} within their limits")
    # What was measured before is compared, and has been judged.
    unknown = [item for item in missed if given.source is None and not known.is_known(item)]
    _tell("Missed, and not known to be:", [known.name_of(item) for item in unknown])
    _tell("Ended with an error, which stands above:", ended)
    if given.json:
        keep(results, given.json)
    if before is None:
        return 1 if unknown or ended else 0
    found = compare(results, before, given.slack)
    _tell("Worse than the baseline:" if found.worse else "No regression.", found.worse)
    _tell("Not in the baseline:", found.new)
    if not given.groups:  # what was not asked for is not missed
        _tell("In the baseline alone:", found.gone)
    return 1 if found.worse or unknown or ended else 0


def _measured(groups: Sequence[str], rounds: int, ended: list[str]) -> Iterator[Result]:
    """Yield the results of groups; a group of several that ends with an error is put in `ended`."""
    names = groups or list(GROUPS)
    if len(names) > 1:
        for name in names:
            try:
                yield from _measured_apart(name, rounds)
            except Unreadable:
                ended.append(name)
        return
    module, _, function = GROUPS[names[0]].partition(":")
    yield from getattr(importlib.import_module(f"benchmarks.{module}"), function)(rounds)


def _measured_apart(name: str, rounds: int) -> Iterator[Result]:
    """Measure a group in its own process, where no other one has left objects or log handlers."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "results.json")
        command = [sys.executable, "-m", "benchmarks", name, f"--rounds={rounds}", "--json", file]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # 1 if a limit is missed
        yield from kept(file)


def _tell(title: str, lines: Sequence[str]) -> None:
    if lines or not title.endswith(":"):
        print("\n".join(["", title, *lines]))


def _line(*cells: str) -> str:
    return "{:<34} {:<28} {:>8}  {:>15}  {:>8}  {:>10}".format(*cells)


def _shown(item: Result) -> str:
    limit = "" if item.limit is None else f"{item.limit:g}"
    mark = "" if item.is_met else f"  missed{known.told(item)}"
    quartiles = f"{item.ratio.low:.3f} {item.ratio.high:.3f}"
    ours = f"{item.seconds * 1e6:,.2f} µs"
    cells = _line(item.row, item.against, f"{item.ratio.median:.3f}", quartiles, limit, ours)
    return cells + mark


if __name__ == "__main__":
    sys.exit(main())
