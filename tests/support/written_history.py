"""A program that writes its history, and what is in the file."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from metertap.history.answers import Kind, Slice
from metertap.history.file_answers import FileAnswers
from metertap.history.tally import Tally

SERVER = """
import os, sys, time
import metertap
tap = metertap.instrument(json_port=0)
for number in range(int(os.environ.get("CALLS", "10"))):
    failed = number % 5 == 0
    metertap.record_tool_call("search", not failed, 20.0, "ValueError" if failed else None)
"""


def kept(path: Path, kind: Kind = "tool") -> dict[str, Tally]:
    """Everything in the file, by the names of subject and service."""
    found: dict[str, Tally] = {}
    for each in slices(path):
        if each.subject.kind == kind:
            found.setdefault(f"{each.subject.name} {each.service}", Tally()).merge(each)
    return found


def slices(path: Path) -> list[Slice]:
    with closing(FileAnswers(path)) as answers:
        until = time.time() + 100
        return list(answers.slices(since=until - 1e6, until=until, step=1e7, by="version"))
