"""Every test starts from a process that metertap has not touched, and leaves one behind."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.expression import Expression
from hypothesis import settings

import metertap
from support import frozen, halves, loud_faults, ports
from support.global_provider import unset_global_provider

# Some machines forbid Python to keep what it compiles. Each worker and each program that a test
# starts would compile everything again, which takes longer than most tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Tests that Hypothesis feeds take a few examples each where all tests run. `.ci/run` has a stage
# of its own for many: `pytest -m hypothesis --hypothesis-profile=thorough`.
settings.register_profile("few", max_examples=60, deadline=None)
settings.register_profile("thorough", max_examples=300, deadline=None)
settings.load_profile("few")

_PREFIXES = ("METERTAP_", "METRICS_", "PROMETHEUS_", "PERFORMANCE_", "OTEL_")


_SLOW = ("run", "documentation", "workers", "faults", "exporters", "cli", "runtime", "history")
"""Rooms whose tests start programs, and wait for them."""


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # the order is that of the function below
    # A shell starts what runs in its background with ^C ignored, `nohup` what it runs with SIGHUP
    # ignored, and programs inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    halves.begin(session)


def pytest_configure_node(node: Any) -> None:
    if (found := halves.scheduler(node.config)) is not None:
        found.tell(node)


def pytest_xdist_make_scheduler(config: pytest.Config) -> halves.Halves | None:
    return halves.scheduler(config)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files that `-m` deselects whole: importing what they test takes the longest.

    So it is where they name no marker of it, or where it is of all of a file that is not wanted.
    """
    if halves.is_of_other_half(collection_path, config):
        return True
    wanted: str = config.option.markexpr
    if collection_path.suffix != ".py" or not wanted:
        return None
    text = collection_path.read_text(encoding="utf-8")
    of_all = re.search(r"^pytestmark = (?:\[[^]]*\]|.*)$", text, re.MULTILINE)
    marks_all = set(re.findall(r"pytest\.mark\.(\w+)", "" if of_all is None else of_all[0]))
    named, unwanted = set(re.findall(r"\w+", text)), set(re.findall(r"not (\w+)", wanted))

    def can_have(marker: str, /, **_arguments: object) -> bool:
        return marker in (marks_all if marker in unwanted else named)

    return None if Expression.compile(wanted).evaluate(can_have) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that processes of tests end at about the same time.

    What imports libraries comes last: each collection of garbage takes longer after that.
    """
    rooms = {name: place for place, name in enumerate(_SLOW)} | {"instrumentation": 100}
    tests = Path(__file__).parent
    items.sort(key=lambda item: rooms.get(os.path.relpath(item.path, tests).split(os.sep)[0], 50))


def pytest_collection_finish() -> None:
    # Everything that is imported by now stays. The collector, and whoever asks it for objects as
    # metertap does to find caches, need not look through all of that in every test.
    gc.collect()
    frozen.freeze()


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_but_libraries() -> Iterator[None]:
    """Remove the objects that a file of tests leaves, and set aside what stays.

    metertap finds caches and servers among all living objects that are not set aside, so those of
    another file would be in the figures of a test.
    """
    yield
    gc.collect()
    frozen.freeze()


@pytest.fixture(autouse=True)
def clean_process(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """No settings from outside, free ports, a runtime directory of the test's own, no faults."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("METRICS_JSON_PORT", "0")
    monkeypatch.setenv("PROMETHEUS_PORT", "0")
    monkeypatch.setenv("METERTAP_ANNOUNCE", "false")  # tests compare what programs write
    # To make a `tmp_path` takes the longer the more there are, and most tests need none.
    runtime = tempfile.mkdtemp(prefix="metertap-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    unset_global_provider()
    metertap.reset()
    with loud_faults.raised(are_expected=request.node.get_closest_marker("faults") is not None):
        yield
        metertap.reset()
    unset_global_provider()
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    return ports.free_port()
