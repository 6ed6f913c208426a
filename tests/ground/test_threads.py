"""Threads of metertap's are none of the program's: its tracers and sizes are for its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from metertap import faults, threads
from metertap.signal_mask import signals_kept_away, start
from metertap.threads import PlainThread, Thread

pytestmark = pytest.mark.interpreter

_BEGIN = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
"""The function of `threading` by which Python starts a thread."""


def test_tracers_and_profilers_of_the_program_do_not_see_them() -> None:
    seen: list[object] = []

    def see(*event: object) -> None:
        seen.append(event)

    before = threading.gettrace(), threading.getprofile()
    threading.settrace(see)
    threading.setprofile(see)
    try:
        for make, is_seen in ((Thread, False), (threading.Thread, True)):
            thread = make(target=str)
            thread.start()
            thread.join()
            assert not thread.is_alive()
            assert bool(seen) == is_seen
    finally:
        threading.settrace(before[0])  # type: ignore[arg-type]
        threading.setprofile(before[1])


@pytest.mark.parametrize("size", [0, 64 * 1024, 4 * 1024 * 1024])
def test_they_have_room_and_the_programs_own_have_what_it_sets(size: int) -> None:
    before = threading.stack_size(size)
    try:
        with signals_kept_away():
            inside = threading.stack_size(64 * 1024)
            threading.stack_size(inside)
            with signals_kept_away():
                pass
        assert inside in (0, 4 * 1024 * 1024)
        assert threading.stack_size() == size
    finally:
        threading.stack_size(before)


@pytest.fixture
def without_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have threads end before their first step, as where they find no memory for it."""
    begin = getattr(threading, _BEGIN)

    def ended(_first_step: object, *rest: object, **options: object) -> object:
        return begin(str, *rest, **options)

    monkeypatch.setattr(threading, _BEGIN, ended)
    yield
    vars(threading)["_limbo"].clear()  # Python keeps threads there until they begin


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize("kind", [PlainThread, Thread])
def test_one_that_finds_no_memory_for_its_first_step_is_not_waited_for(
    kind: type[PlainThread],
) -> None:
    thread = kind(target=str, daemon=True)
    thread.start()  # Python's own would never return
    thread.join()
    assert not thread.is_alive()


def test_one_that_begins_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, may_begin, ran = getattr(threading, _BEGIN), threading.Event(), threading.Event()

    def late(first_step: Callable[..., object], *rest: object, **options: object) -> object:
        def step(*args: object) -> None:
            may_begin.wait(60)
            first_step(*args)

        return begin(step, *rest, **options)

    monkeypatch.setattr(threading, _BEGIN, late)
    monkeypatch.setattr(threads, "_BEGIN_SECONDS", 0.01)
    thread = PlainThread(target=ran.set)
    thread.start()
    assert thread.ident is None
    monkeypatch.undo()
    releasing = threading.Timer(0.1, may_begin.set)
    releasing.start()
    thread.join(60)
    releasing.join(60)
    assert ran.is_set()


@pytest.mark.usefixtures("without_memory")
def test_a_warning_without_memory_delays_nobody_for_good() -> None:
    faults.warn("something is wrong")
    assert not faults._logging


def test_one_that_is_unknown_to_threading_stays_so() -> None:
    before = threading.enumerate()
    seen: list[threading.Thread] = []
    ended = start(lambda: seen.append(threading.current_thread()))
    assert ended.acquire(timeout=20)
    assert seen != []
    assert threading.enumerate() == before


def test_what_the_program_sets_while_one_of_them_starts_stays() -> None:
    before = threading.stack_size(64 * 1024)
    try:
        with signals_kept_away():
            threading.stack_size(128 * 1024)
        assert threading.stack_size() == 128 * 1024
    finally:
        threading.stack_size(before)


PROGRAM = """
import signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
sys.stdin.read()
import metertap
metertap.instrument(json_endpoint=False)
metertap.record_tool_call("search", True, latency_ms=-5)
"""


@pytest.mark.programs
@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="the system has none")
def test_a_warning_that_nobody_reads_ends_no_program() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stderr is not None
    assert program.stdin is not None
    program.stderr.close()
    program.stdin.close()
    assert program.wait(60) == 0
