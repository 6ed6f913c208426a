"""The counts of one worker as another one reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from metertap import outcomes
from metertap.recording import Recorder
from metertap.recording.figures import Whole
from metertap.workers.exchange import Changes, Heard, Told
from metertap.workers.ledger import Ledger
from metertap.workers.rows import Items, Part, table_of
from metertap.workers.sections import Section, of_process, of_recorder
from metertap.workers.together import Windows
from metertap.workers.wire import VERSION, dumped, loaded

LATENCIES = st.floats(0, 1e6, allow_nan=False)


def sections(recorder: Recorder) -> list[Section]:
    """The sections of a worker that has this recorder."""
    whole = of_process(lambda figures: Whole(figures.start_time, 0, 0, 1.0, None, 1, None))
    return [*of_recorder(recorder), whole]


def ledger_of(calls: Sequence[tuple[str, float | None]], window: int = 30) -> Ledger:
    """The ledger of a worker that has measured these outcomes and latencies in ms."""
    recorder = Recorder(window_size=window)
    series = recorder.tool("search", "library")
    for ended, latency_ms in calls:
        recorder.record_tool(series, ended, None if ended == outcomes.OK else "E", latency_ms)
    return Ledger(recorder, sections(recorder))


def over_the_wire(ledger: Ledger) -> dict[str, Items]:
    """All sections, as another process reads them."""
    return {
        name: heard(ledger.sections[name], items).items
        for name, items in ledger.now(ledger.sections).items()
    }


def heard(section: Section, items: Items) -> Heard:
    """What another process has heard of a section after one message."""
    found = Heard()
    found.take(sent(section, Told().changes(items)))
    return found


def sent(section: Section, changes: Changes) -> Changes:
    """Changes of a section, as another process reads them."""
    samples: list[bytes] = []
    written = dumped({"version": VERSION, "of": section.encoded(changes, samples)}, samples)
    found, left = loaded(written)
    return section.decoded(found["of"], left)


def merged(merge: Callable[..., Any], *parts: Part) -> Any:
    """Merge one item of several workers."""
    tables = [table_of({(): part}, [0]) for part in parts]
    (found,) = merge(tables, Windows([{}], [], [table.windows for table in tables]))
    return found
