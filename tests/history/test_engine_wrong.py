"""Engines that are slow, wrong or gone: exit status 2 and one line, in bounded time."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metertap import promql
from metertap.cli import client, main
from metertap.history import buckets, engine_costs, promql_api
from metertap.history import engine as engine_answers
from metertap.history.answers import HistoryError

Answer = Callable[[BaseHTTPRequestHandler], None]
DURATION = "gen_ai_execute_tool_duration_seconds"


@contextmanager
def engine(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):  # who asked may be gone
                answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def told(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in headers.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def vector(*items: object) -> bytes:
    return json.dumps(
        {"status": "success", "data": {"resultType": "vector", "result": items}}
    ).encode()


def hanging(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


METRIC = {"__name__": f"{DURATION}_count"}
WRONG = {
    "a page": (told(b"<html>"), "does not speak PromQL"),
    "an empty answer": (told(b""), "does not speak PromQL"),
    "another document": (told(b"[]"), "does not speak PromQL"),
    "deep": (told(b"[" * 100_000), "does not speak PromQL"),
    "another type": (told(vector(7)), "does not speak PromQL"),
    "no number": (told(vector({"metric": METRIC, "value": [1, "x"]})), "does not speak PromQL"),
    "no number of ours": (
        told(vector({"metric": METRIC, "value": [1, 10**400]})),
        "does not speak",
    ),
    "no time": (told(vector({"metric": METRIC, "value": [1e300, "1"]})), "does not speak PromQL"),
    "no name": (told(vector({"metric": {}, "value": [1, "1"]})), "has no metrics of metertap's"),
    "no text": (told(vector({"metric": {"__name__": 7}, "value": [1, "1"]})), "does not speak"),
    "nothing of ours": (told(vector()), "the engine has no metrics of metertap's"),
    "an error": (told(b'{"status": "error"}', 422), "it answers 422"),
    "a redirect": (told(b"", 302, Location="http://127.0.0.1:1/"), "it answers 302"),
    "endless": (hanging, "no whole answer within 0.5 s"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("command", ["regressions", "trends"])
def test_an_engine_that_is_wrong_or_slow_is_one_line(
    command: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "endless":
        monkeypatch.setattr(client, "SECONDS", 0.5)
    answer, reason = WRONG[kind]
    with engine(answer) as url:
        status = main([command, "--history", url])
    out, err = capsys.readouterr()
    assert status == (2 if command == "regressions" else 1)
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"metertap {command}: ")
    assert reason in line
    assert len(line) < 300


def test_an_engine_that_is_gone_is_one_line_without_its_password(
    free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (f"http://me:secret@127.0.0.1:{free_port}/prometheus", "http://[::1", "http://"):
        assert main(["regressions", "--history", url]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "secret" not in line


@pytest.mark.parametrize("command", ["regressions", "trends"])
@pytest.mark.parametrize(
    ("place", "token", "expected"),
    [
        ("", None, None),
        (":s3cret@", None, "Bearer s3cret"),
        ("", "t0ken", "Bearer t0ken"),
        ("me:s3cret@", None, "Basic bWU6czNjcmV0"),
        ("me@", "s3cret", "Basic bWU6czNjcmV0"),
    ],
)
def test_an_engine_is_shown_the_token_or_password_that_it_is_given(
    command: str, place: str, token: str | None, expected: str | None, tmp_path: Path
) -> None:
    seen = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        told(vector())(handler)

    options = []
    if token is not None:
        (tmp_path / "token").write_text(f"{token}\n")
        options = ["--token-file", str(tmp_path / "token")]
    with engine(answer) as url:
        main([command, "--history", url.replace("//", f"//{place}"), *options])
    assert set(seen) == {expected}


def test_all_questions_together_have_a_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    api = promql_api.Api(lambda path: vector())
    assert api.instant("up", 0.0) == []
    monkeypatch.setattr(promql_api, "TOTAL_SECONDS", -1.0)
    api.start()
    with pytest.raises(HistoryError, match="took more than"):
        api.instant("up", 0.0)


def matrix(items: str) -> bytes:
    return f'{{"status":"success","data":{{"resultType":"matrix","result":[{items}]}}}}'.encode()


@pytest.mark.parametrize(
    "items",
    [
        ",".join(['{"":0}'] * 2_000_000),
        ",".join(["[[]]"] * 3_000_000),
        ",".join(['{"metric":{"job":"x","le":"1"},"values":[[1,"1"]]}'] * 400_000),
        '{"metric":{},"values":[' + ",".join(['[1,"1"]'] * 11_001) + "]}",
        '{"metric":{},"histograms":[' + ",".join(['[1,{"count":1}]'] * 11_001) + "]}",
    ],
    ids=["dicts", "lists", "series", "points", "histograms"],
)
def test_an_answer_that_would_take_all_memory_is_not_read(items: str) -> None:
    api, body = promql_api.Api(lambda path: matrix(items)), len(items)
    tracemalloc.start()
    try:
        with pytest.raises(HistoryError, match=promql_api.TOO_MUCH):
            list(api.range("up", 0.0, 1.0, 1.0))
        assert tracemalloc.get_traced_memory()[1] < 4 * body + 8 * 2**20
    finally:
        tracemalloc.stop()


def test_figures_that_are_no_counts_are_left_out() -> None:
    odd = ["-1", "NaN", "Inf", "-Inf", "1e300"]
    values = [[place, text] for place, text in enumerate([*odd, "2", "0"])]
    inner = [[0, "0.1", "0.2", count] for count in [*odd, "3"]]
    inner.append([0, "NaN", "0.2", "3"])
    held = [[9, {"count": count, "buckets": inner}] for count in [*odd, "3"]]
    item = {"metric": {}, "values": values, "histograms": held}
    api = promql_api.Api(lambda path: matrix(json.dumps(item)))
    ((_, points),) = api.range("up", 0.0, 1.0, 1.0)
    assert points == [(5.0, 2.0, ()), (6.0, 0.0, ()), (9.0, 3.0, [(0.1, 0.2, 3.0)])]


def test_what_names_no_tool_is_no_share_of_one() -> None:
    def grown(metric: str, *_: object) -> Iterator[tuple[dict[str, str], float, float]]:
        if metric == promql.LOOKUP_CALLS:
            yield {promql.LOOKUP: "hit"}, 0.0, 1.0
            yield {promql.LOOKUP: "hit", promql.TOOL: "search"}, 0.0, 2.0

    ((subject, _, _, sums),) = engine_costs.costs(grown)
    assert (subject.name, sums) == ("search", {"all_hit_calls": 2.0})


def test_figures_without_end_are_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_answers, "_MOST_SLICES", 3)
    jobs = 4

    def ask(path: str) -> bytes:
        if "query_range" not in path:
            return vector({"metric": {"__name__": promql.CACHE_REQUESTS}, "value": [1, "1"]})
        labels = {promql.CACHE: "prompts", promql.LOOKUP: "hit"}
        series = [
            {"metric": {**labels, "job": str(job)}, "values": [[60, "1"]]} for job in range(jobs)
        ]
        return matrix(json.dumps(series)[1:-1])

    answers = engine_answers.EngineAnswers(ask, lambda: 100.0)
    with pytest.raises(HistoryError, match="ask for fewer periods"):
        list(answers.slices(since=0.0, until=60.0, step=60.0, kinds=["cache"]))
    jobs = 3
    assert len(list(answers.slices(since=0.0, until=60.0, step=60.0, kinds=["cache"]))) == 3


def native(counts: int, *, series: int = 1, apart: str = "") -> Callable[[str], bytes]:
    """An engine with one tool, and with so many buckets of different bounds in each series."""
    inner = [[0, str(place / 1e6), "1000", "1"] for place in range(counts)]

    def ask(path: str) -> bytes:
        if "query_range" not in path:
            return vector({"metric": {"__name__": DURATION, promql.TOOL: "a"}, "value": [1, "1"]})
        held = [[60, {"count": str(counts), "sum": "1", "buckets": inner}]]
        return matrix(
            ",".join(
                json.dumps({"metric": {apart: str(number)}, "histograms": held})
                for number in range(series)
            )
        )

    return ask


def calls_of(ask: Callable[[str], bytes]) -> list[int]:
    answers = engine_answers.EngineAnswers(ask, lambda: 100.0)
    found = answers.slices(since=0.0, until=60.0, step=60.0, kinds=["tool"], name="a")
    return [each.calls for each in found]


def test_more_buckets_than_a_histogram_has_are_not_added_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert calls_of(native(100, series=3)) == [300]
    # Adding up wide ones takes a tenth of a millisecond each: an answer has room for hours of it.
    with pytest.raises(HistoryError, match=promql_api.TOO_MUCH):
        calls_of(native(20_001))
    monkeypatch.setattr(engine_answers, "_MOST_BUCKETS", 200)
    with pytest.raises(HistoryError, match="ask for fewer periods"):
        calls_of(native(100, series=3, apart="job"))


def test_adding_up_has_a_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[None] = []

    def start(api: promql_api.Api) -> None:
        started.append(None)
        # At a question's start the clock starts anew, and once more when all answers are there.
        api._due = time.monotonic() + (60.0 if len(started) < 3 else -1.0)

    monkeypatch.setattr(promql_api.Api, "start", start)
    with pytest.raises(HistoryError, match="took more than"):
        calls_of(native(100))


def test_buckets_of_other_histograms_keep_their_counts_and_bounds() -> None:
    classic = buckets.of_classic({"0.01": 10.4, "0.02": 30.2, "0.04": 30.2, "+Inf": 31.0})
    made = buckets.sketch(classic)
    assert made.count == 31
    assert 0.01 * 0.98 < (made.quantile(11 / 31) or 0.0) < 0.02
    assert made.maximum == pytest.approx(0.04, rel=0.02)
    many = buckets.sketch(buckets.of_classic({"0.01": 1e9}))  # from zero on, evenly
    assert many.minimum == pytest.approx(0.01 / 2 ** (buckets._DOUBLINGS + 1), rel=0.02)
    native = buckets.sketch(buckets.of_native([(-1e-9, 1e-9, 0.0), (0.5, 0.505, 7.0)]))
    assert (native.count, native.quantile(0.5)) == (7, pytest.approx(0.5025, rel=0.006))
    ranges = buckets.sketch(buckets.of_ranges({"1.000e+00...1.011e+00": 3.0}))
    assert (ranges.count, ranges.quantile(0.5)) == (3, pytest.approx(1.0055, rel=0.006))


@pytest.mark.parametrize(
    "bounds",
    [{"x": 1.0}, {"nan": 1.0}, {"-1": 1.0}, {"inf": 1.0}, {"1e308": 1.0}, {"-1": 0.0, "0": 1.0}],
)
def test_bounds_that_are_none_are_no_calls_or_refused(bounds: dict[str, float]) -> None:
    try:
        made = buckets.sketch(buckets.of_classic(bounds))
    except ValueError:
        assert "x" in bounds
    else:
        assert made.count == 0
