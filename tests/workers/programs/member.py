"""A worker without a server: does what the lines of its stdin say, and answers as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from contextlib import suppress

from metertap import outcomes
from metertap.recording import Recorder
from metertap.recording.figures import Whole
from metertap.workers import holder
from metertap.workers.group import WorkerGroup
from metertap.workers.ledger import Ledger
from metertap.workers.sections import FIGURES, of_process, of_recorder

holder._ASK_SECONDS = float(sys.argv[2])
recorder = Recorder()
holds = threading.Event()
whole = of_process(lambda figures: Whole(figures.start_time, 0, 0, 0.0, None, 1, None))
ledger = Ledger(recorder, [*of_recorder(recorder), whole])
group = WorkerGroup(sys.argv[1], ledger, lambda: "member", holds.set)
taken: list[int] = []
"""Descriptors that are open so that there are no others."""


def answered(line: str) -> object:
    command, _, rest = line.partition(" ")
    if command == "join":
        return group.join()
    if command == "call":
        series = recorder.tool("search", "library")
        for _ in range(int(rest)):
            recorder.record_tool(series, outcomes.OK, None, 1.0)
        return None
    if command == "tell":
        return group.tell_last()
    if command == "counted":
        gathered = group.gathered(FIGURES)
        if gathered is None:
            return None
        tools = gathered.merged["tools"].values()
        return [sum(part.figures.succeeded for part in tools), gathered.ended]
    if command == "end":
        return group.end()
    if command == "rest":
        return group.rest()
    if command == "port":
        return group.kept_port("json")
    if command == "holds":
        return holds.wait(float(rest))
    if command == "exhaust":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        return None
    if command == "free":
        while taken:
            os.close(taken.pop())
        return None
    if command == "spent":
        return time.process_time()
    group.end()
    return None


for line in sys.stdin:
    sys.stdout.write(json.dumps(answered(line.strip())) + "\n")
    sys.stdout.flush()
