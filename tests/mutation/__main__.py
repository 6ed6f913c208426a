"""Say which changes of a source file no test notices: `python tests/mutation [FILE ...]`.

FILE is a part of a path, with or without lines (`window.py:98` or `window.py:98-120`); without one,
all files of `covering.py` are examined. Each survivor is shown as it was changed. Exits 1 if less
than 90 % of a file's mutants are killed.
"""

from __future__ import annotations

import argparse
import difflib
import queue
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from covering import GROUPS, Group
from mutants import Mutant, mutants, mutated
from runner import ROOT, Runner


def main() -> int:
    """Examine the files that are asked for, and print a table."""
    parser = argparse.ArgumentParser(prog="python tests/mutation", description=__doc__)
    parser.add_argument("file", nargs="*", type=_Wanted.parsed, help="part of a path, and lines")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="runs at one time")
    parser.add_argument("--sample", type=int, default=300, help="most mutants of one file")
    options = parser.parse_args()
    made: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    for group in GROUPS:
        chosen = [
            change
            for path in group.files
            for change in _sample(path, options.file or [_Wanted("")], options.sample)
        ]
        made.update(change.path for change in chosen)
        if chosen:
            survived.update(_examine(group, chosen, options.jobs))
    _say("\n| file | mutants | killed | survived | killed % |\n|---|---|---|---|---|")
    for path, count in made.items():
        killed = count - survived[path]
        _say(f"| `{path}` | {count} | {killed} | {survived[path]} | {100 * killed / count:.0f} |")
    return int(any(10 * survived[path] > count for path, count in made.items()))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class _Change(NamedTuple):
    """One mutant, and the text that it makes of its file."""

    path: str
    mutant: Mutant
    code: str


class _Wanted(NamedTuple):
    """Files that are asked for by a part of their path, and their lines."""

    part: str
    first: int = 0
    last: int = sys.maxsize

    @classmethod
    def parsed(cls, text: str) -> _Wanted:
        part, _, lines = text.partition(":")
        first, _, last = lines.partition("-")
        return cls(part, int(first), int(last or first)) if lines else cls(part)


def _sample(path: str, wanted: Sequence[_Wanted], most: int) -> list[_Change]:
    lines = [(one.first, one.last) for one in wanted if one.part in path]
    if not lines:
        return []
    source = (ROOT / path).read_text()
    found = [
        mutant
        for mutant in mutants(source)
        if any(first <= mutant.line <= last for first, last in lines)
    ]
    if len(found) > most:
        found = random.Random(0).sample(found, most)
    pairs = ((mutant, mutated(source, mutant)) for mutant in sorted(found))
    return [_Change(path, mutant, code) for mutant, code in pairs if code is not None]


def _examine(group: Group, chosen: list[_Change], jobs: int) -> list[str]:
    """Return the file of each mutant that no test notices."""
    survivors: list[str] = []
    waiting: queue.SimpleQueue[_Change] = queue.SimpleQueue()
    for one in chosen:
        waiting.put(one)

    def work(runner: Runner) -> None:
        while True:
            try:
                change = waiting.get_nowait()
            except queue.Empty:
                return
            verdict = runner.run(change.path, change.code)
            says = verdict.by
            if not verdict.killed:
                survivors.append(change.path)
                says = f"SURVIVED {says}\n{_difference(change)}"
            _say(f"{change.path}:{change.mutant.line} {change.mutant.operator} {says}")

    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        runners = [Runner(Path(folder, str(number)), group.tests) for number in range(jobs)]
        try:
            verdict = runners[0].warm()
            if verdict.killed:
                raise SystemExit(f"without any change: {verdict.by}")
            for runner in runners[1:]:
                runner.as_warm_as(runners[0])
            workers = [threading.Thread(target=work, args=(runner,)) for runner in runners]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        finally:
            for runner in runners:
                runner.close()
    return survivors


def _difference(change: _Change) -> str:
    lines = difflib.unified_diff(
        (ROOT / change.path).read_text().splitlines(), change.code.splitlines(), lineterm="", n=0
    )
    return "\n".join(f"    {line}" for line in list(lines)[3:])


if __name__ == "__main__":
    sys.exit(main())
