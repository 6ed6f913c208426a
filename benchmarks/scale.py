"""More tools, more threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import metertap
from benchmarks.measuring import Result, interleaved, result
from benchmarks.process import measured
from metertap.runtime.tap import active_tap


def tools(rounds: int) -> Iterator[Result]:
    """A call where there are 10,000 tools, all of them called in turn, against a single one."""
    with measured(series_limit=20_000):

        def work(number: int) -> int:
            return number

        one = metertap.tool(name="one")(work)
        many = [metertap.tool(name=f"tool {number}")(work) for number in range(10_000)]

        def of_one(times: int) -> float:
            functions = [one] * times
            started = time.perf_counter()
            for function in functions:
                function(1)
            return time.perf_counter() - started

        seconds = {"alone": interleaved({"alone": of_one}, rounds=rounds, times=10_000)["alone"]}
        for function in many:
            function(1)
        seconds["among"] = interleaved({"among": of_one}, rounds=rounds, times=10_000)["among"]

        def of_many(_times: int) -> float:
            started = time.perf_counter()
            for function in many:
                function(1)
            return time.perf_counter() - started

        found = interleaved({"one": of_one, "many": of_many}, rounds=rounds, times=10_000)
    row = "a call among 10,000 tools"
    yield result(row, "the same tool alone", seconds["among"], seconds["alone"], 1.2)
    yield result("10,000 tools in turn", "one tool", found["many"], found["one"], None)


def threads(rounds: int) -> Iterator[Result]:
    """The time that 8 threads take for as many calls as one thread; and nothing is lost."""
    with measured() as tap:

        @metertap.tool
        def work(number: int) -> int:
            return number

        def record(times: int) -> None:
            for _ in range(times):
                work(1)

        def by(count: int, times: int) -> float:
            at_work = [
                threading.Thread(target=record, args=(times // count,)) for _ in range(count)
            ]
            started = time.perf_counter()
            for thread in at_work:
                thread.start()
            for thread in at_work:
                thread.join()
            return time.perf_counter() - started

        times, rounds = 40_000, max(5, rounds // 3)
        seconds = interleaved(
            {"one": lambda times: by(1, times), "eight": lambda times: by(8, times)},
            rounds=rounds,
            times=times,
        )
        counted = tap.snapshot()["tool_metrics"]["work"]["total_calls"]
        assert counted == 2 * (rounds * times + times // 10), "calls were lost"
    assert active_tap() is None
    yield result("8 threads", "1 thread", seconds["eight"], seconds["one"], 1 / 0.9)
