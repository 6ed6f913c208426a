"""What a look at four workers costs the one that is asked, step by step, in one process.

    python -m benchmarks.gathering [--looks 60]

200 tools with full windows are called between two looks: 4 times in one worker alone, or once in
each of four. Without sockets and HTTP, and without instruments, which are equal on both sides. The
least of a step is what the same bytes take without a check, or anything that is kept of them.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from metertap.recording import Recorder
from metertap.workers.exchange import Heard, Told
from metertap.workers.ledger import Ledger
from metertap.workers.merged import Merged
from metertap.workers.rows import Items
from metertap.workers.sections import FIGURES, figures_of, of_process, of_recorder
from metertap.workers.wire import framed, messages
from metertap_exporters.json.document import outline, shown_tools
from metertap_exporters.json.system import taken
from metertap_exporters.json.text import DocumentText

WORKERS, TOOLS, WINDOW = 4, 200, 1000
_DOCUMENT: dict[str, Any] = {"enabled": True, "service": {}, "alerts": None}
LEAST = "the least of it: "


class Steps:
    """The processor time of each step, look by look."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of a block."""
        began = time.thread_time()
        yield
        self.seconds.setdefault(name, []).append(time.thread_time() - began)

    def milliseconds(self) -> dict[str, float]:
        """Return the first quartile of each step: other work on the machine disturbs the others."""
        return {
            name: 1e3 * statistics.quantiles(found, n=4)[0] for name, found in self.seconds.items()
        }


class Worker:
    """One worker, and what the one that is asked has heard of it."""

    def __init__(self, by: random.Random, window: int) -> None:
        self._by = by
        self.recorder = Recorder(window_size=window)
        self.ledger = Ledger(self.recorder, [*of_recorder(self.recorder), of_process(taken)])
        self._tools = [self.recorder.tool(f"tool {number}", "manual") for number in range(TOOLS)]
        self._told: dict[str, Told] = {}
        self._heard: dict[str, Heard] = {}
        self.work(window)

    def work(self, calls: int) -> None:
        """Call each tool so many times."""
        for series in self._tools:
            for _ in range(calls):
                self.recorder.started(series)
                series.append(self._by.lognormvariate(-7, 0.5))
                series.ended = time.perf_counter()

    def answer(self, sheet: Mapping[str, Items], *, has_windows: bool = True) -> bytes:
        """Write what has changed since the last time."""
        samples: list[bytes] = []
        sections: dict[str, Any] = {}
        for name, items in sheet.items():
            told, section = self._told.setdefault(name, Told()), self.ledger.sections[name]
            if not told.has(items):
                changes = told.changes(items)
                sections[name] = section.encoded(changes, samples, has_windows=has_windows)
        return framed({"sections": sections}, samples)

    def read(self, data: bytes) -> dict[str, Items]:
        """Read what it has answered."""
        ((found, samples),) = messages(data)
        for name, given in found["sections"].items():
            heard = self._heard.setdefault(name, Heard())
            heard.take(self.ledger.sections[name].decoded(given, samples))
        return {name: heard.items for name, heard in self._heard.items()}


def _least_of_reading(answers: list[bytes]) -> list[Any]:
    found = []
    for data in answers:
        end = 8 + int.from_bytes(data[4:8], "big")
        found.append((json.loads(data[8:end]), array("d", data[end:]).tolist()))
    return found


def measured(looks: int, window: int = WINDOW) -> tuple[dict[str, float], dict[str, float]]:
    """Return the milliseconds of each step: of one worker alone, and of one of several."""
    by = random.Random(1)
    alone, asked, *others = [Worker(by, window) for _ in range(1 + WORKERS)]
    one, several, merged = Steps(), Steps(), Merged()
    text_of_one, text_of_all = DocumentText(), DocumentText()
    for _ in range(looks):
        alone.work(WORKERS)
        for worker in (asked, *others):
            worker.work(1)
        answers = [worker.answer(worker.ledger.now(FIGURES)) for worker in others]
        with one.step("figures"):
            figures = alone.recorder.figures()
        with one.step("text"):
            text_of_one.of(outline(figures, **_DOCUMENT))
        with several.step("its own figures"):
            own = asked.ledger.now(FIGURES)
        with several.step("to write what is new of them"):
            asked.answer(own, has_windows=False)
        with several.step("to read three answers"):
            sheets = [worker.read(data) for worker, data in zip(others, answers, strict=True)]
        with several.step("to merge"):
            all_sheets = [own, *sheets]
            sections = asked.ledger.sections
            found = {name: merged.of(sections[name], all_sheets) for name in FIGURES}
        with several.step("text"):
            figures = figures_of(found)
            shown = shown_tools(figures.tools, ())
            text_of_all.of(outline(figures, tools=shown, **_DOCUMENT))
        with several.step(LEAST + "json.loads and a list of numbers of three answers"):
            _least_of_reading(answers)
    return one.milliseconds(), several.milliseconds()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looks", type=int, default=60)
    one, several = measured(parser.parse_args().looks)
    for title, steps in (("one worker alone", one), (f"one of {WORKERS} workers", several)):
        for name, took in steps.items():
            print(f"{title}: {name}: {took:.2f} ms")
    whole = sum(took for name, took in several.items() if not name.startswith(LEAST))
    print(
        f"all steps: {whole:.2f} ms, {whole / sum(one.values()):.2f} × {sum(one.values()):.2f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
