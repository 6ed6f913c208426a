"""Readers of a history's file, and of what engines answer."""

from __future__ import annotations

import json
import random
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs, urlsplit

from benchmarks.fuzz.changes import Target, changed_bytes, dumped
from metertap.history import engine_costs
from metertap.history.answers import By, HistoryError, Subject
from metertap.history.engine import EngineAnswers
from metertap.history.file_answers import FileAnswers
from metertap.history.store import Run, Store
from metertap.history.tally import Tally, decode, encode
from metertap.history.trends import as_json, trends


def tally_of(calls: int = 3) -> Tally:
    tally = Tally({"ok": calls, "error": 1}, {"ValueError": 1}, None, 1, 2, {"cost_usd": 0.5})
    tally.sketch().add([0.001 * number for number in range(1, calls + 1)])
    return tally


@contextmanager
def rows_of_a_history() -> Iterator[Target]:
    """Read one row of a history's file."""
    head, _, sketches = zlib.decompress(encode({1: tally_of(), 2: Tally(hits=1)})).partition(b"\n")
    lines = json.loads(head)

    def give(by: random.Random) -> None:
        rest = changed_bytes(sketches, by) if by.random() < 0.4 else sketches
        row = zlib.compress(dumped(lines, by) + b"\n" + rest, 1)
        for _, tally in decode(changed_bytes(row, by) if by.random() < 0.1 else row):
            total = tally_of()
            total.merge(tally)
            encode({1: total})
            total.sketch().quantile(0.5)

    yield Target((ValueError, zlib.error), give)


@contextmanager
def files_of_a_history() -> Iterator[Target]:
    """Answer questions by a file in which somebody has written something else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        store = Store(path, 2**20)
        for start in range(0, 100, 10):
            subjects = {Subject("tool", "search", "library"): tally_of(), _CACHE: tally_of()}
            store.write(Run("shop", "1.0", "i"), [(start, subjects)])
        store.close()
        with closing(sqlite3.connect(path, isolation_level=None)) as writing:
            writing.execute("PRAGMA synchronous = OFF")
            writing.text_factory = bytes
            cells = [
                (table, column, row)
                for table in ("run", "series", "chunk")
                for (_, column, *_) in writing.execute(f"PRAGMA table_info({table})").fetchall()
                if column != b"id"
                for (row,) in writing.execute(f"SELECT rowid FROM {table}").fetchall()
            ]

            def give(by: random.Random) -> None:
                table, column, row = by.choice(cells)
                column, value = column.decode(), by.choice(_CELLS)
                cell = f"FROM {table} WHERE rowid = {row}"
                (before,) = writing.execute(f"SELECT quote({column}) {cell}").fetchone()
                with suppress(sqlite3.IntegrityError):
                    writing.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = {row}")
                try:
                    with closing(FileAnswers(path)) as answers:
                        answers.services()
                        step, apart = by.choice((10, 60, 1000)), by.choice(_APART)
                        made = trends(answers, since=0, until=100, step=step, by=apart)
                        json.dumps(as_json(made), allow_nan=False)
                finally:
                    old = before.decode()
                    writing.execute(f"UPDATE {table} SET {column} = {old} WHERE rowid = {row}")

            yield Target((HistoryError,), give)


_APART: tuple[By, ...] = get_args(By)


_CACHE = Subject("cache", "answers", "lru")


_CELLS = (
    *("NULL", "0", "-1", "9223372036854775807", "-9223372036854775808", "1e300", "-1e300", "9e999"),
    *("''", "'x'", "x''", "x'ff'", "CAST(x'ff' AS TEXT)", "CAST(x'00' AS TEXT)", "zeroblob(9)"),
    *("printf('%5000s', 'a')", "char(27) || '[2J'", "0.5", "randomblob(40)", "'tool'", "'cache'"),
)
"""What stands in a cell of the file, as SQL."""


@contextmanager
def answers_of_engines() -> Iterator[Target]:
    """Answer questions by what an engine says that speaks PromQL."""
    labels = {"__name__": "gen_ai_execute_tool_duration_seconds", "service_name": "shop"}
    labels |= {"service_version": "1.0", "gen_ai_tool_name": "search", "job": "j", "le": "0.5"}
    labels |= {"cache_name": "answers", "cache_system": "lru", "cache_result": "hit"}
    kinds = [dict(labels), {**labels, "__name__": "cache_requests_total"}, {**labels, "le": "+Inf"}]
    kinds.append({**labels, "__name__": "gen_ai_execute_tool_duration_seconds_count"})
    kinds += [{**labels, "__name__": metric} for metric in engine_costs.METRICS]
    odd = ("0", "-1", "-1e18", "1e-320", "1e308", "4.6e18", "NaN", "Inf", "-Inf")

    def give(by: random.Random) -> None:
        def number(usual: str) -> str:
            return by.choice(odd) if by.random() < 0.1 else usual

        def told(kind: dict[str, str]) -> dict[str, str]:
            return {name: text for name, text in kind.items() if by.random() < 0.97}

        def ask(path: str) -> bytes:
            is_range = "query_range" in path
            parse_qs(urlsplit(path).query)
            bucket = [0, number("0.1"), number("0.2"), number("5")]
            held = [60, {"count": number("5"), "sum": "1", "buckets": [bucket]}]
            points = [[60, number("5")], [70, number("7")]]
            rows = [
                {"metric": told(kind), "values": points, "histograms": [held]}
                if is_range
                else {"metric": kind, "value": [60, number("5")]}
                for kind in kinds
            ]
            data = {"resultType": "matrix" if is_range else "vector", "result": rows}
            document = {"status": "success", "data": data}
            if by.random() < 0.7:
                return json.dumps(document).encode()
            return dumped(document, by)

        answers = EngineAnswers(ask, lambda: 100.0)
        made = trends(answers, since=0, until=100, step=10, by="version")
        json.dumps(as_json(made), allow_nan=False)

    yield Target((HistoryError,), give)
