"""What a call costs above the bare function under `@metertap.tool`, and by other libraries.

Each measures by the way that its own documentation shows, with nothing sent over a network but
statsd's datagrams, which nobody receives. sentry-sdk, statsd and logfire are left out where they
are not installed: `pip install sentry-sdk statsd logfire`.
"""

from __future__ import annotations

import functools
import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Histogram

import metertap
from benchmarks import baselines
from benchmarks.calls import work
from benchmarks.measuring import Result, Work, above, interleaved, result, timed
from benchmarks.process import measured

Measured = Callable[[int], int]


def _opentelemetry(readers: int) -> Measured:
    provider = MeterProvider(
        [InMemoryMetricReader() for _ in range(readers)], shutdown_on_exit=False
    )
    histogram = provider.get_meter("peers").create_histogram("tool.duration", "s")

    @functools.wraps(work)
    def call(number: int) -> int:
        started = time.perf_counter()
        found = work(number)
        histogram.record(time.perf_counter() - started, {"tool": "work", "outcome": "ok"})
        return found

    return call


def _prometheus_client() -> Measured:
    seconds = Histogram("tool_seconds", "Calls.", ["tool"], registry=CollectorRegistry())
    timing: Any = seconds.labels("work").time()
    return timing(work)  # type: ignore[no-any-return]


def _singleton() -> Measured:
    singleton = baselines.Singleton()

    def call(number: int) -> int:
        started = time.perf_counter()
        found = work(number)
        singleton.record_tool_call("work", True, (time.perf_counter() - started) * 1000.0)
        return found

    return call


def _statsd() -> Measured:
    import statsd

    return statsd.StatsClient("127.0.0.1", 8125).timer("work")(work)  # type: ignore[no-any-return]


def _sentry() -> Measured:
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Dropping(Transport):
        def capture_envelope(self, _envelope: object) -> None:
            pass

    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        traces_sample_rate=1.0,
        transport=Dropping,
        default_integrations=False,
    )

    def call(number: int) -> int:
        with sentry_sdk.start_transaction(op="tool", name="work"):
            return work(number)

    return call


def _logfire() -> Measured:
    import logfire

    instance = logfire.configure(local=True, send_to_logfire=False, console=False)
    return instance.instrument("work")(work)


_PEERS: dict[str, tuple[str | None, Callable[[], Measured]]] = {
    "a wrapt wrapper that does nothing": (
        None,
        lambda: baselines.wrapped(work, baselines.do_nothing),
    ),
    "a closure, 2 clocks + append": (None, lambda: baselines.closure(work)),
    "the collector called by hand": (None, _singleton),
    "prometheus_client's decorator": (None, _prometheus_client),
    "OpenTelemetry, one reader": (None, lambda: _opentelemetry(1)),
    "OpenTelemetry, two readers": (None, lambda: _opentelemetry(2)),
    "statsd's decorator": ("statsd", _statsd),
    "a transaction of sentry": ("sentry_sdk", _sentry),
    "a span of logfire": ("logfire", _logfire),
}
"""By what the table says: the package that it needs, and what makes the function."""
_TRACING = frozenset({"sentry_sdk", "logfire"})


def calls(rounds: int) -> Iterator[Result]:
    """A plain call; what is ours is `@metertap.tool`, and the seconds are the other's."""
    seconds: dict[str, list[float]] = {}
    with measured():
        tool = metertap.tool(work)
        # Those that trace come last and apart: from then on metertap asks for the span of a call.
        for traces in (False, True):
            works: dict[str, Work] = {"bare": timed(lambda: work(1))}
            if not traces:
                works["tool"] = timed(lambda: tool(1))
            for name, (package, make) in _PEERS.items():
                is_there = package is None or importlib.util.find_spec(package)
                if is_there and traces == (package in _TRACING):
                    works[name] = timed(functools.partial(make(), 1))
            found = interleaved(works, rounds=rounds, times=1000)
            seconds |= {name: above(found, name, "bare") for name in works}
    for name in _PEERS:
        if name in seconds:
            yield result(name, "@metertap.tool", seconds[name], seconds["tool"], None)
