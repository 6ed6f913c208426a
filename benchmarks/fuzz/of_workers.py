"""Readers of what other workers, and other measured processes, say."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks.fuzz.changes import Target, changed_bytes, dumped
from metertap import outcomes
from metertap.cli.typed_json import Malformed as NoDocument
from metertap.cli.typed_json import read
from metertap.recording import Recorder
from metertap.workers import records, wire
from metertap.workers.checking import Malformed
from metertap.workers.exchange import Changes, Heard, Told
from metertap.workers.ledger import Ledger
from metertap.workers.merged import Merged
from metertap.workers.records import Head
from metertap.workers.rows import Items
from metertap.workers.sections import figures_of, of_process, of_recorder
from metertap_exporters.exposition.text import Exposition
from metertap_exporters.exposition.views import Views
from metertap_exporters.json.document import outline
from metertap_exporters.json.system import taken
from metertap_exporters.json.text import DocumentText


def _ledger() -> Ledger:
    recorder = Recorder()
    for number in range(30):
        name, outcome = ("search", outcomes.OK) if number % 3 else ("r", outcomes.TIMEOUT)
        recorder.record_tool(recorder.tool(name, "library"), outcome, None, float(number))
    cache = recorder.cache("answers", "lru")
    recorder.cache_looked_up(cache, True, None)
    with recorder.lock:
        series = recorder.usage("search", "openai", "own")
        series.calls, series.input_tokens, series.spent = 1, 100, series.spent + 1
    return Ledger(recorder, [*of_recorder(recorder), of_process(taken)])


def _said(message: Any, samples: bytes, by: random.Random) -> bytes:
    """Write a message of a worker, changed, with samples of which some may be others."""
    if by.random() < 0.3:
        values = array("d", samples)
        for _ in range(by.choice((1, 2, 9))):
            values[by.randrange(len(values))] = float(by.choice(_SAMPLES))
        samples = values.tobytes()
    if by.random() < 0.1:
        samples = changed_bytes(samples, by)
    text = dumped(message, by) if by.random() < 0.7 else json.dumps(message).encode()
    return _after_length(text) + samples


def _after_length(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


_SAMPLES = (-1.0, 0.0, 1e-300, 5.0, 1e300, 1e308, float("nan"), float("inf"), float("-inf"))


@contextmanager
def answers_of_workers() -> Iterator[Target]:
    """Read what a worker says to the one that holds the port, and add it to what is known."""
    ledger = _ledger()
    known = ledger.now(ledger.sections)
    written: list[bytes] = []
    told = {
        name: section.encoded(Told().changes(known[name]), written)
        for name, section in ledger.sections.items()
    }
    message, samples = {"version": wire.VERSION, "sections": told}, b"".join(written)
    views, exposition = Views(Recorder()), Exposition(lambda: None)

    def give(by: random.Random) -> None:
        found, rest = wire.loaded(_said(message, samples, by))
        sections = found.get("sections")
        sheet = dict(known)
        for name, given in sections.items() if isinstance(sections, dict) else ():
            heard = Heard()
            heard.take(ledger.sections[name].decoded(given, rest) if name in known else _NOTHING)
            sheet[name] = heard.items
        merged = {
            name: Merged().of(section, [sheet, known]) for name, section in ledger.sections.items()
        }
        figures = figures_of(merged)
        if by.random() < 0.2:
            whole = merged["whole"][()]
            given = {"enabled": True, "service": {}, "foreign": (), "alerts": None, "whole": whole}
            json.loads(DocumentText().of(outline(figures, **given)))
            exposition.text(views.families(figures), is_openmetrics=False)
        _write(ledger, merged)

    yield Target((Malformed,), give)


def _write(ledger: Ledger, sheet: Mapping[str, Items]) -> None:
    new = {name: (items, 1.0) for name, items in sheet.items()}
    records.written(Head(), ledger.sections, new, {})


_NOTHING = Changes(False, (), (), ())


@contextmanager
def totals_of_workers() -> Iterator[Target]:
    """Read the file of totals that a worker has left."""
    ledger = _ledger()
    sheet = ledger.now(ledger.sections)
    head = Head("instance", ((1, 2),), 1, 0, ((3, 4),))
    new = {name: (items, 1.0) for name, items in sheet.items()}
    whole = records.written(head, ledger.sections, new, {})[4:]
    end = 4 + int.from_bytes(whole[:4], "big")
    message, samples = json.loads(whole[4:end]), whole[end:]

    def give(by: random.Random) -> None:
        said = _after_length(_said(message, samples, by))
        _write(ledger, records.read(said, ledger.sections).sheet)

    yield Target((Malformed,), give)


@contextmanager
def targets_of_processes() -> Iterator[Target]:
    """Read what a process says that Prometheus is to scrape."""
    from metertap.cli.targets import Target as Scraped

    said = [{"targets": ["127.0.0.1:9108"], "labels": {"service": "shop"}}]

    def give(by: random.Random) -> None:
        for one in read(dumped(said, by), list[Scraped]):
            assert all(isinstance(text, str) for text in one["labels"].values())

    yield Target((NoDocument,), give)
