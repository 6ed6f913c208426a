"""`python -m benchmarks.fuzz --inputs 100000`: what reads others' words, given wrong ones.

Each target is a reader of what another process, a file, an engine or a model's provider says. It
is given words of ours in which something was changed: a value by one of another type or size, a
part left out, twice, or in another place, bytes by others. It has to refuse them by the error that
it promises, or to make something of them that can be shown. Anything else is printed with its seed.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import socket
import sqlite3
import sys
import tempfile
import time
import traceback
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, get_args
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import metertap
from metertap import faults, outcomes
from metertap.cli.typed_json import Malformed as NoDocument
from metertap.cli.typed_json import read
from metertap.cli.weight import http, session
from metertap.cli.weight.session import Unusable as NoServer
from metertap.costs.configured import own_prices
from metertap.costs.usage import MOST_TOKENS, Unusable, Usage
from metertap.history.answers import By, HistoryError, Subject
from metertap.history.engine import EngineAnswers
from metertap.history.file_answers import FileAnswers
from metertap.history.store import Run, Store
from metertap.history.tally import Tally, decode, encode
from metertap.history.trends import as_json, trends
from metertap.recording import Recorder
from metertap.settings import settings
from metertap.workers import records, wire
from metertap.workers.ledger import Ledger, Merged
from metertap.workers.records import Head
from metertap.workers.sections import Changes, Heard, Told, figures_of, of_process, of_recorder
from metertap_exporters.exposition.text import Exposition
from metertap_exporters.json.document import outline
from metertap_exporters.json.system import taken
from metertap_exporters.json.text import DocumentText
from metertap_exporters.prometheus import Views

_ODD = (
    *(
        None,
        True,
        False,
        "",
        "x",
        "\x1b[2J",
        "\ud800",
        "x" * 3000,
        "1",
        "NaN",
        "+Inf",
        "-1",
        "1e999",
    ),
    *(0, -1, 1, 2**31, 2**53, 2**63, 10**400, -(10**400), 0.5, -0.0, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf")),
    *([], {}, [None], [[]], {"": {}}, [1, 2, 3], {"total": 1}, [[[[[[[[1]]]]]]]]),
)
"""What stands in the place of a value."""


def changed(value: Any, by: random.Random) -> Any:
    """Return a copy of a JSON value in which one thing or a few are others."""
    made = json.loads(json.dumps(value))
    for _ in range(by.choice((1, 1, 1, 2, 5))):
        places = list(_places(made))
        if not places:
            return _odd(by)
        holder, key = by.choice(places)
        how = by.random()
        if how < 0.6:
            holder[key] = _odd(by)
        elif how < 0.75:
            del holder[key]
        elif how < 0.9:
            other, there = by.choice(places)
            if there in other if isinstance(other, dict) else there < len(other):
                holder[key] = json.loads(json.dumps(other[there]))
        elif isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        else:
            holder[f"{key}x"] = _odd(by)
    return made


def _odd(by: random.Random) -> Any:
    return copy.deepcopy(by.choice(_ODD))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def changed_bytes(text: bytes, by: random.Random) -> bytes:
    """Return bytes of which some are others, missing, or twice."""
    made = bytearray(text)
    for _ in range(by.choice((1, 2, 8))):
        at = by.randrange(len(made) + 1)
        end = min(len(made), at + by.choice((1, 1, 2, 9, 100)))
        made[at:end] = by.choice((b"", by.randbytes(end - at), bytes(made[at:end]) * 2))
    return bytes(made)


def _dumped(value: Any, by: random.Random) -> bytes:
    text = json.dumps(changed(value, by)).encode()
    return changed_bytes(text, by) if by.random() < 0.2 else text


class Target(NamedTuple):
    """A reader: what it may raise, and what gives it one input, the changes made by a seed."""

    refuses: tuple[type[Exception], ...]
    give: Callable[[random.Random], None]


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
    text = _dumped(message, by) if by.random() < 0.7 else json.dumps(message).encode()
    return wire.framed(text.decode(errors="replace"), [samples])


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
            given = {
                "enabled": True,
                "service": {},
                "foreign": (),
                "alerts": None,
                "whole": whole,
            }
            json.loads(DocumentText().of(outline(figures, **given)))
            exposition.text(views.families(figures), is_openmetrics=False)
        for section in ledger.sections.values():
            records.text_of(section, merged[section.name], 1.0)

    yield Target((wire.Malformed,), give)


_NOTHING = Changes(False, (), (), ())


@contextmanager
def totals_of_workers() -> Iterator[Target]:
    """Read the file of totals that a worker has left."""
    ledger = _ledger()
    sheet = ledger.now(ledger.sections)
    head = Head("instance", ((1, 2),), 1, ((3, 4),))
    texts = [records.text_of(ledger.sections[name], items, 1.0) for name, items in sheet.items()]
    message = json.loads(records.written(head, texts)[4:])

    def give(by: random.Random) -> None:
        found = records.read(wire.framed(_dumped(message, by).decode("latin-1")), ledger.sections)
        for name, items in found.sheet.items():
            records.text_of(ledger.sections[name], items, 1.0)

    yield Target((wire.Malformed,), give)


def _tally(calls: int = 3) -> Tally:
    tally = Tally({"ok": calls, "error": 1}, {"ValueError": 1}, None, 1, 2, {"cost_usd": 0.5})
    tally.sketch().add([0.001 * number for number in range(1, calls + 1)])
    return tally


@contextmanager
def rows_of_a_history() -> Iterator[Target]:
    """Read one row of a history's file."""
    head, _, sketches = zlib.decompress(encode({1: _tally(), 2: Tally(hits=1)})).partition(b"\n")
    lines = json.loads(head)

    def give(by: random.Random) -> None:
        rest = changed_bytes(sketches, by) if by.random() < 0.4 else sketches
        row = zlib.compress(_dumped(lines, by) + b"\n" + rest, 1)
        for _, tally in decode(changed_bytes(row, by) if by.random() < 0.1 else row):
            total = _tally()
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
            subjects = {Subject("tool", "search", "library"): _tally(), _CACHE: _tally()}
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
    bucket = [0, "0.1", "0.2", "5"]
    held = [60, {"count": "5", "sum": "1", "buckets": [bucket]}]

    def give(by: random.Random) -> None:
        def ask(path: str) -> bytes:
            is_range = "query_range" in path
            parse_qs(urlsplit(path).query)
            rows = [
                {"metric": kind, "values": [[60, "5"], [70, "7"]], "histograms": [held]}
                if is_range
                else {"metric": kind, "value": [60, "5"]}
                for kind in kinds
            ]
            data = {"resultType": "matrix" if is_range else "vector", "result": rows}
            document = {"status": "success", "data": data}
            if by.random() < 0.7:
                return json.dumps(document).encode()
            return _dumped(document, by)

        answers = EngineAnswers(ask, lambda: 100.0)
        made = trends(answers, since=0, until=100, step=10, by="version")
        json.dumps(as_json(made), allow_nan=False)

    yield Target((HistoryError,), give)


@contextmanager
def usage_of_models() -> Iterator[Target]:
    """Read the usage in a model's answer, price it, and show it."""
    from metertap_instrumentation.models import anthropic, google_genai, openai

    parts = {"cached_tokens": 5, "reasoning_tokens": 5, "audio_tokens": 1}
    said = {
        "input_tokens": 100,
        "output_tokens": 20,
        "input_tokens_details": parts,
        "output_tokens_details": parts,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_1h_input_tokens": 1},
        "cache_creation_input_tokens": 2,
        "prompt_token_count": 100,
        "candidates_token_count": 5,
        "thoughts_token_count": 2,
        "prompt_tokens_details": [{"token_count": 3, "modality": "AUDIO"}],
    }

    class Fields:
        def __init__(self, **fields: Any) -> None:
            vars(self).update(fields)

    def objects(value: Any) -> Any:
        if isinstance(value, dict):
            return Fields(**{str(name): objects(inner) for name, inner in value.items()})
        return [objects(inner) for inner in value] if isinstance(value, list) else value

    def give(by: random.Random) -> None:
        found = changed(said, by)
        found = objects(found) if by.random() < 0.5 else found
        embedded = Fields(embeddings=[Fields(statistics=objects(changed({"token_count": 3}, by)))])
        for read_usage in (
            lambda: openai.usage_of(found),
            lambda: anthropic.usage_of(found, Usage(5, 5)),
            lambda: google_genai.usage_of(Fields(usage_metadata=found)),
            lambda: google_genai.embedding_usage_of(embedded),
        ):
            try:
                usage = read_usage()
            except Unusable:
                continue
            assert usage is None or all(0 <= count <= 9 * MOST_TOKENS for count in usage)
        odd: Any = [by.choice(_ODD) for _ in range(6)]
        metertap.record_usage(
            provider=odd[0],
            model=odd[1],
            input_tokens=odd[2],
            output_tokens=odd[3],
            cached_tokens=odd[4],
            seconds=odd[5],
        )
        if by.random() < 0.002:
            json.dumps(metertap.get_all_metrics(), allow_nan=False)

    yield Target((Unusable,), give)


@contextmanager
def prices_of_a_file() -> Iterator[Target]:
    """Read prices of a configuration file, and price a call by them."""
    table = {"a": {"input": 1, "output": 2.5, "cached": "0.1", "cache_write": 3}, "b": {"input": 1}}

    def give(by: random.Random) -> None:
        found = changed(table, by)
        for price in own_prices(found if isinstance(found, dict) else table).values():
            assert price.cost(Usage(MOST_TOKENS, 5, 3, 2)) >= 0

    yield Target((), give)


@contextmanager
def listings_of_servers() -> Iterator[Target]:
    """Weigh what an MCP server says of its tools."""
    result = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}, "prompts": {}},
        "serverInfo": {"name": "n", "version": "1"},
        "nextCursor": None,
        "prompts": [{}],
        "tools": [{"name": "a", "description": "d", "inputSchema": {"type": "object"}}],
    }

    class Told:
        def __init__(self, by: random.Random) -> None:
            self._by, self._number, self._count = by, 0, 0

        def send(self, message: dict[str, Any]) -> None:
            json.dumps(message)
            self._number = message.get("id", self._number) if "method" in message else self._number

        def agree(self, version: str) -> None:
            pass

        def receive(self) -> str:
            self._count += 1
            if self._count > 20:
                raise NoServer("it says too much")
            message = {"jsonrpc": "2.0", "id": self._number, "result": result}
            text = json.dumps(message) if self._by.random() < 0.5 else _dumped(message, self._by)
            stream = bytearray(text if isinstance(text, bytes) else text.encode())
            with suppress(ValueError):
                list(http._whole_events(bytearray(b"data: " + stream + b"\n\n")))
            return stream.decode(errors="replace")

    yield Target((NoServer,), lambda by: session.listing(Told(by)) and None)


@contextmanager
def requests_of_clients() -> Iterator[Target]:
    """Answer requests to both endpoints: none of them is an error of the server's."""
    from metertap_exporters.json.reader import JsonSnapshot
    from metertap_exporters.prometheus import PrometheusExporter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        store = Store(path, 2**20)
        store.write(Run("shop", "1.0", "i"), [(60, {Subject("tool", "search", "l"): _tally()})])
        store.close()
        with mock.patch.dict("os.environ", METERTAP_HISTORY=str(path)):
            metertap.record_tool_call("search", True, 5.0)
            in_force = settings.read()
        apps = [JsonSnapshot(in_force).app, PrometheusExporter(in_force).app]
        words = (
            "worker",
            "each",
            "=",
            "&",
            "since",
            "until",
            "by",
            "version",
            "name[]",
            "%",
            "1e9",
        )
        words += (
            "nan",
            "inf",
            "-1",
            "\x00",
            "\xff",
            "/",
            ";",
            "+",
            "gzip",
            "*/*",
            "q=",
            ",",
            "text",
        )
        paths = ("/metrics", "/history.json", "/targets", "/", "/page.json", "/history", "/doctor")

        def give(by: random.Random) -> None:
            def text() -> str:
                return "".join(by.choices(words, k=by.randrange(9)))

            environ = {
                "REQUEST_METHOD": by.choice(("GET", "HEAD", "POST", text())),
                "PATH_INFO": by.choice((*paths, text())),
                "QUERY_STRING": text(),
                "HTTP_ACCEPT": text(),
                "HTTP_ACCEPT_ENCODING": text(),
                "HTTP_HOST": text(),
            }
            if environ["PATH_INFO"] == "/doctor" and by.random() < 0.99:
                return
            statuses: list[str] = []
            list(by.choice(apps)(environ, lambda status, _headers: statuses.append(status)))
            assert not statuses[0].startswith("500"), environ

        yield Target((), give)


@contextmanager
def bytes_of_clients() -> Iterator[Target]:
    """Read requests from a connection: each has one whole answer or none."""
    from metertap_exporters.http.app import App, json_response
    from metertap_exporters.http.hosts import HostCheck
    from metertap_exporters.http.server import Server, _Handler

    asked = (
        b"GET /metrics?a=1 HTTP/1.1\r\nHost: localhost:9109\r\nAccept: */*\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 5\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
    )
    server = Server(("127.0.0.1", 0))
    app = App({"/metrics": lambda _environ: json_response(200, {"figures": 1})})
    server.set_app(HostCheck(app, "127.0.0.1", frozenset()))

    def give(by: random.Random) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(changed_bytes(by.choice(asked), by))
            theirs.shutdown(socket.SHUT_WR)
            server.connections.admit(ours)
            _Handler(ours, ("127.0.0.1", 1), server)
            server.connections.closed(ours)
            ours.shutdown(socket.SHUT_RDWR)
            found = b""
            while part := theirs.recv(65536):
                found += part
        status = found.partition(b"\r\n")[0]
        assert not found or status.startswith(b"HTTP/1."), found
        assert found.count(b"\r\nServer: ") == bool(found), found
        assert b" 500 " not in status, found

    with closing(server.socket):
        yield Target((), give)


@contextmanager
def targets_of_processes() -> Iterator[Target]:
    """Read what a process says that Prometheus is to scrape."""
    from metertap.cli.targets import Target as Scraped

    said = [{"targets": ["127.0.0.1:9108"], "labels": {"service": "shop"}}]

    def give(by: random.Random) -> None:
        for one in read(_dumped(said, by), list[Scraped]):
            assert all(isinstance(text, str) for text in one["labels"].values())

    yield Target((NoDocument,), give)


TARGETS = (
    *(answers_of_workers, totals_of_workers, rows_of_a_history, files_of_a_history),
    *(answers_of_engines, usage_of_models, prices_of_a_file, listings_of_servers),
    *(requests_of_clients, bytes_of_clients, targets_of_processes),
)


def fuzz(target: Target, inputs: int, seed: int) -> Iterator[str]:
    """Give `inputs` inputs to a target; yield what went wrong, each kind once."""
    seen = set()
    for number in range(seed, seed + inputs):
        before = sum(faults.fault_counts().values())
        try:
            target.give(random.Random(number))  # inputs have to come again
        except target.refuses:
            continue
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            if kind not in seen:
                seen.add(kind)
                yield f"seed {number}: {kind}: {str(error)[:200]!r}"
        if sum(faults.fault_counts().values()) > before:
            yield f"seed {number}: a fault: {faults.fault_counts()}"


def main() -> int:
    """Fuzz; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of each target (100,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="targets with this in their name")
    given = parser.parse_args()
    wrong = 0
    for make in TARGETS:
        if given.only in make.__name__:
            began = time.perf_counter()
            with make() as target:
                for told in fuzz(target, given.inputs, given.seed):
                    wrong += 1
                    print(f"  {told}", flush=True)
            took = time.perf_counter() - began
            print(f"{make.__name__}: {given.inputs} inputs, {took:.0f} s", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
