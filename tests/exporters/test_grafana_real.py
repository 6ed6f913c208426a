"""Every expression of every dashboard, against a real Prometheus that scrapes the demo under load.

What the demo has not (entries of a cache, tools that yield, faults, too many series) this process
has, which is scraped as well.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

import metertap
from metertap import faults
from metertap.costs import model_calls
from metertap_exporters import grafana
from servers.real_servers import Store, prometheus
from support.http import get
from support.waiting import wait_for

pytest.importorskip("mcp", reason="the demo's server needs mcp")
pytest.importorskip("genai_prices", reason="the demo's costs need prices")

pytestmark = [pytest.mark.real, pytest.mark.programs]

_RANGES = {"$__rate_interval": "30s", "$__range": "30s", "$__interval": "1s"}
_OR_NONE = " or vector(0)"
_SERIES = 20
_LIST = re.compile(r"label_values\((.+), (\w+)\)")


def square(number: int) -> int:
    return number * number


@metertap.tool
def count(upto: int) -> Iterator[int]:
    """A tool that yields."""
    yield from range(upto)


@contextmanager
def demo() -> Iterator[str]:
    """The demo, running: the address that Prometheus scrapes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "metertap", "demo", "--costs"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OTEL_SERVICE_NAME": "demo"},
    )
    assert process.stdout is not None
    with process.stdout as told:
        line = ""
        try:
            while not line.startswith("Prometheus"):
                line = wait_for(told.readline, 60)
            drain = threading.Thread(target=told.read)
            drain.start()
            yield line.split()[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            drain.join()


@contextmanager
def this_process() -> Iterator[str]:
    """A tool that yields, a cache that tells how much it holds, faults, too many series."""
    provider = MeterProvider(resource=Resource({"service.name": "other"}))
    options = {"prometheus": True, "meter_provider": provider, "series_limit": _SERIES}
    with metertap.instrument(**options) as tap:
        ending = threading.Event()
        load = threading.Thread(target=_work, args=(ending, provider))
        load.start()
        try:
            yield wait_for(lambda: tap.prometheus_url)
        finally:
            ending.set()
            load.join()
            provider.shutdown()


def _work(ending: threading.Event, provider: MeterProvider) -> None:
    meter = provider.get_meter("other")
    # Not of the module: the tests that follow in this process would find it.
    squares = functools.lru_cache(maxsize=4)(square)
    noise = meter.create_counter("noise")
    for number in range(2 * _SERIES):
        noise.add(1, {"number": number})
    big = metertap.cache_meter("pages")
    number = 0
    while not ending.wait(0.02):
        number += 1
        list(count(3))
        squares(number % 6)
        big.miss()
        big.rejected()
        asked = model_calls.begin("openai", "chat", "gpt-4o")
        assert asked is not None
        asked.end(TimeoutError())
        faults.fault("here", "a fault of the test's")


@pytest.fixture(scope="module")
def boards() -> dict[str, dict[str, Any]]:
    return {
        Path(name).stem: json.loads(text)
        for name, text in grafana.files("http://localhost:9090").items()
        if name.endswith(".json")
    }


class Asked:
    """The queries of one dashboard as Grafana would send them."""

    def __init__(self, store: Store, board: dict[str, Any]) -> None:
        self._store = store
        self._board = board
        self._answered: set[str] = set()

    def lists(self) -> dict[str, list[str]]:
        """Values of each variable, in the order in which they depend on one another."""
        found: dict[str, list[str]] = {}
        for variable in self._board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            match = _LIST.fullmatch(variable["query"])
            assert match is not None, variable["query"]
            series, label = match.groups()
            chosen = quote(self._filled(series, found, None))
            answer = get(f"{self._store.url}/api/v1/label/{label}/values?match[]={chosen}").json()
            found[variable["name"]] = answer["data"]
        return found

    def unanswered(self) -> list[str]:
        """What has returned no data yet: lists, and expressions whatever tool is chosen."""
        lists = self.lists()
        without = [f"list of {name}" for name, values in lists.items() if not values]
        for panel in self._board["panels"]:
            for target in panel.get("targets", []):
                asked = f"{panel['title']}: {target['expr']}"
                if asked in self._answered:
                    continue
                if any(
                    self._has_data(self._filled(target["expr"].removesuffix(_OR_NONE), lists, tool))
                    for tool in lists.get("tool", [None])
                ):
                    self._answered.add(asked)
                else:
                    without.append(asked)
        return without

    def _has_data(self, expression: str) -> bool:
        return any(not math.isnan(value) for value in self._store.query(expression).values())

    def _filled(self, expression: str, lists: dict[str, list[str]], tool: str | None) -> str:
        for name, value in _RANGES.items():
            expression = expression.replace(name, value)
        for variable in self._board["templating"]["list"]:
            name = variable["name"]
            if name not in lists:
                continue
            everything = variable.get("allValue") or f"({'|'.join(map(_quoted, lists[name]))})"
            value = everything if variable.get("includeAll") else tool
            expression = expression.replace(f"${name}", value or "")
        assert "$" not in expression, expression
        return expression


def _quoted(value: str) -> str:
    """As Grafana quotes a value for a regular expression in a string of PromQL."""
    return re.escape(value).replace("\\", "\\\\")


@pytest.mark.faults
def test_every_list_and_every_expression_of_every_panel_returns_data(tmp_path: Path) -> None:
    boards = {
        name: json.loads(text)
        for name, text in grafana.files("http://localhost:9090").items()
        if name.endswith(".json")
    }
    with demo() as one, this_process() as other, prometheus(tmp_path / "p", one, other) as store:
        for name, board in boards.items():
            asked = Asked(store, board)
            # The demo's load is drawn by lot: what is rare comes later.
            deadline = time.monotonic() + 180
            while without := asked.unanswered():
                assert time.monotonic() < deadline, "\n".join((name, *without))
                time.sleep(0.2)
            assert {"demo", "other"} <= set(asked.lists()["service"])
