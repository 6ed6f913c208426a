"""Running tests against one mutant after the other, each in a forked child.

pytest collects the tests once, and a first run notes which functions of ours each test calls.
For each mutant pytest forks, and the child puts the mutant's code into the functions that are there
already, and runs the tests that call them, the fastest first. What is no function's code (a
constant, a default) needs a pytest of its own, and all tests. All run in a copy of the repository,
and the mutant is written there, so that programs that a test starts run it as well.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple, TextIO

import pytest

ROOT = Path(__file__).parents[2]
_PATHS = ("src", "exporters", "instrumentation")
_COPIED = (*_PATHS, "tests", "docs", "dashboards", "examples", "pyproject.toml", "README.md")
_FAILED = Path("failed.txt")
_CALLS = Path("calls.json")
_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--tb=line", "--basetemp=tmp")

Place = tuple[str, int, str]
"""A function: its file, first line and name."""


class Verdict(NamedTuple):
    """What the tests said of one mutant."""

    killed: bool
    by: str
    """The test that failed first, or what else ended the run."""


class Runner:
    """One copy of the repository, and a pytest in it that forks a child for each run."""

    def __init__(self, folder: Path, tests: Sequence[str]) -> None:
        self._folder = folder
        for name in _COPIED:
            source, copy = ROOT / name, folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, copy)
        self._tests = tests
        self._limit = 900.0
        self._server = self._start()

    def warm(self) -> Verdict:
        """Run the tests with nothing mutated, to see that they pass, and what they call."""
        self._ask(self._server, trace=True)  # a test may fail because it is traced
        started = time.monotonic()
        verdict = self._ask(self._server)
        self._limit = 60.0 + 8.0 * (time.monotonic() - started)
        return verdict

    def as_warm_as(self, other: Runner) -> None:
        """Take what another one has found out of the same tests."""
        shutil.copy(other._folder / _CALLS, self._folder / _CALLS)
        self._limit = other._limit

    def run(self, path: str, code: str) -> Verdict:
        """Run the tests with `code` in the place of the file at `path`, until one fails."""
        file = self._folder / path
        original = file.read_text()
        file.write_text(code)
        try:
            if _outside_functions(code) == _outside_functions(original):
                return self._ask(self._server, path, _changed(original, code))
            fresh = self._start()
            try:
                return self._ask(fresh)
            finally:
                _end(fresh)
        finally:
            file.write_text(original)

    def close(self) -> None:
        """End the process in which the tests were collected."""
        _end(self._server)

    def _start(self) -> subprocess.Popen[str]:
        paths = os.pathsep.join(str(self._folder / name) for name in _PATHS)
        return subprocess.Popen(
            [sys.executable, __file__, *self._tests],
            cwd=self._folder,
            # Of the copy no compiled file is there or kept: a change may leave time and size as
            # they were. Those of libraries are used.
            env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(
        self,
        server: subprocess.Popen[str],
        path: str | None = None,
        places: Sequence[tuple[int, str]] = (),
        trace: bool = False,
    ) -> Verdict:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            server.stdin.write(json.dumps([self._limit, path, places, trace]) + "\n")
            server.stdin.flush()
            answer = server.stdout.readline()
        except BrokenPipeError:
            answer = ""
        return Verdict(*json.loads(answer)) if answer else Verdict(True, "not imported")


def _end(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


class _Forking:
    """A pytest plugin that runs collected tests in a child for each line of its input."""

    def __init__(self, requests: TextIO, answers: TextIO) -> None:
        self._root = f"{Path.cwd()}{os.sep}"
        self._requests = requests
        self._answers = answers
        self._functions: list[FunctionType] = []
        self._calls: dict[str, tuple[float, set[Place]]] = {}
        self._called: set[Place] | None = None
        self._is_child = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        # Before conftest.py hides from the collector what is there by now.
        self._functions = [found for found in gc.get_objects() if type(found) is FunctionType]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None
        killers: list[str] = []
        for line in self._requests:
            limit, path, places, trace = json.loads(line)
            changed = {(path, line, name) for line, name in places}
            items = self._chosen(session.items, changed, killers)
            _FAILED.unlink(missing_ok=True)
            if not items:
                self._answer(False, "no test calls it")
                continue
            child = os.fork()
            if child == 0:
                self._is_child = True
                os.setpgid(0, 0)
                if not trace:
                    # An endless loop ends by this, a test that waits for ever by the time limit.
                    # Tests take less than they took while they were traced.
                    most = 10 + int(sum(self._calls[item.nodeid][0] for item in items))
                    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
                session.items[:] = items
                if trace:
                    self._called = set()
                    session.config.option.maxfail = 0
                elif path is not None:
                    name = self._root + path
                    functions = [one for one in self._functions if one.__code__.co_filename == name]
                    _put_into(functions, Path(path).read_text(), name)
                return None  # pytest runs what it collected
            status = _status(child, limit)
            failed = "" if status == 0 else _first_failure(status)
            if failed in killers:
                killers.remove(failed)
            if failed and path is not None:
                killers.insert(0, failed)  # what noticed one mutant is likely to notice the next
            self._answer(status != 0, failed)
        return True

    def _chosen(
        self, items: Sequence[pytest.Item], changed: set[Place], killers: list[str]
    ) -> list[pytest.Item]:
        """Return the tests that call what has changed, those first that take the least time."""
        if not self._calls and _CALLS.exists():
            self._calls = {
                name: (seconds, set(map(tuple, called)))
                for name, (seconds, called) in json.loads(_CALLS.read_text()).items()
            }
        if not self._calls:
            return list(items)

        def order(item: pytest.Item) -> tuple[int, float]:
            name = item.nodeid
            return (
                killers.index(name) if name in killers[:2] else 2,
                self._calls[name][0],
            )

        wanted = (
            item
            for item in items
            if not changed or not changed.isdisjoint(self._calls[item.nodeid][1])
        )
        return sorted(wanted, key=order)

    def _answer(self, killed: bool, by: str) -> None:
        self._answers.write(json.dumps([killed, by]) + "\n")
        self._answers.flush()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if self._called is None:
            return (yield)
        self._called.clear()
        started = time.process_time()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]  # typeshed before 3.12
            self._calls[item.nodeid] = time.process_time() - started, set(self._called)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if self._called is not None and code.co_filename.startswith(self._root):
            path = code.co_filename[len(self._root) :]
            self._called.add((path, *_place(code)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            _FAILED.write_text(report.nodeid)

    def exit(self, code: int) -> None:
        if self._called is not None:
            calls = {name: (took, sorted(called)) for name, (took, called) in self._calls.items()}
            _CALLS.write_text(json.dumps(calls))
        os._exit(code if self._is_child else 0)


def _status(child: int, limit: float) -> int | None:
    """Return the exit status of `child`; None if it has not ended after `limit` seconds."""
    deadline = time.monotonic() + limit
    status = None
    while status is None and time.monotonic() < deadline:
        ended, raw = os.waitpid(child, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(raw)
        else:
            time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # programs that a failed test left behind, too
    if status is None:
        os.waitpid(child, 0)
    return status


def _first_failure(status: int | None) -> str:
    if status is None:
        return "did not end"
    return _FAILED.read_text() if _FAILED.exists() else f"exit status {status}"


def _put_into(functions: Sequence[FunctionType], code: str, name: str) -> None:
    """Give each of `functions`, which are those of one file, what `code` has at its place."""
    new = defaultdict(list)
    for found in _functions_of(compile(code, name, "exec")):
        new[_place(found)].append(found)
    for function in functions:
        old = function.__code__
        found = next(one for one in new[_place(old)] if one.co_freevars == old.co_freevars)
        function.__code__ = found


def _place(code: CodeType) -> tuple[int, str]:
    return code.co_firstlineno, code.co_name


def _functions_of(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _functions_of(constant)


def _changed(original: str, code: str) -> list[tuple[int, str]]:
    """Return the functions and methods whose code differs."""

    def outermost(code: CodeType) -> Iterator[CodeType]:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                if constant.co_flags & inspect.CO_NEWLOCALS:
                    yield constant
                else:
                    yield from outermost(constant)

    pairs = zip(
        outermost(compile(original, "compared", "exec")),
        outermost(compile(code, "compared", "exec")),
        strict=True,
    )
    # A function that is made inside a changed one may be called without it.
    return sorted(
        {_place(one) for old, new in pairs if old != new for one in (new, *_functions_of(new))}
    )


def _outside_functions(source: str) -> Any:
    """Return what a module and its classes do when they are imported, for comparison."""

    def outside(code: CodeType) -> Any:
        inner = [
            repr(constant)
            if not isinstance(constant, CodeType)
            else constant.co_name
            if constant.co_flags & inspect.CO_NEWLOCALS  # a function
            else outside(constant)
            for constant in code.co_consts
        ]
        return code.co_code, code.co_names, inner

    return outside(compile(source, "compared", "exec"))


def _serve() -> None:
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open("log.txt", os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(1, 2)
    plugin = _Forking(requests, answers)
    code = pytest.main([*_OPTIONS, *sys.argv[1:]], plugins=[plugin])
    plugin.exit(int(code))


if __name__ == "__main__":
    _serve()
