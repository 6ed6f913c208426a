"""Faults of our own: swallowed, counted, told once a place."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator

import pytest

from metertap import faults
from support.warned import warnings_of

pytestmark = [pytest.mark.interpreter, pytest.mark.faults]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_goes_no_further_is_counted_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for place in ("here", "here", "there"):
        with faults.guarded(place):
            raise KeyError("lost")
    assert faults.fault_counts() == {"here": 2, "there": 1}
    assert warnings_of(caplog) == [
        f"{place}: KeyError: 'lost' (counted in metertap.errors, told once)"
        for place in ("here", "there")
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_program_passes(error: type[BaseException]) -> None:
    with pytest.raises(error), faults.guarded("here"):
        raise error
    assert faults.fault_counts() == {}


def test_an_error_that_cannot_be_shown_is_told_by_its_class(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with faults.guarded("here"):
        raise Unspeakable
    assert "here: Unspeakable: <Unspeakable>" in warnings_of(caplog)[0]


def test_what_is_told_is_of_bounded_length(caplog: pytest.LogCaptureFixture) -> None:
    with faults.guarded("here"):
        raise ValueError("x" * 100_000)
    assert len(warnings_of(caplog)[0]) < 400


@pytest.fixture
def broken_logging() -> Iterator[None]:
    """A filter of the program's on our logger, which raises."""

    def broken(_record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter's own defect")

    faults.logger.addFilter(broken)
    yield
    faults.logger.removeFilter(broken)


@pytest.mark.usefixtures("broken_logging")
def test_broken_logging_is_not_the_callers_exception() -> None:
    with faults.guarded("here"):
        raise KeyError
    faults.warn_once("key", "something")
    assert faults.fault_counts() == {"here": 1}


def test_a_thread_that_sets_up_logging_and_hangs_does_not_hold_up_a_call() -> None:
    """As `logging.config` does, which makes handlers with that lock held."""
    is_held, may_end, is_told = (threading.Event() for _ in range(3))

    def hang() -> None:
        with logging._lock:  # type: ignore[attr-defined]  # as its own functions hold it
            is_held.set()
            may_end.wait(60)

    def call() -> None:
        with faults.guarded("here"):
            raise KeyError
        is_told.set()

    logging.getLogger("metertap").manager._clear_cache()  # type: ignore[attr-defined]
    threads = [threading.Thread(target=work, daemon=True) for work in (hang, call)]
    threads[0].start()
    assert is_held.wait(60)
    threads[1].start()
    assert is_told.wait(30)
    may_end.set()
    for thread in threads:
        thread.join(60)


@pytest.mark.faults
def test_arguments_that_a_function_has_replaced_are_not_read_without_end() -> None:
    def callback(*items: int) -> None:
        items = itertools.count()  # type: ignore[assignment]
        raise KeyError(items)

    with faults.guarded("here"):
        callback()
    assert faults.fault_counts() == {"here": 1}


def test_a_fault_in_the_middle_of_counting_one_is_counted_too() -> None:
    """As when the collector runs a finaliser there, or a signal comes."""

    class Place(str):
        def __hash__(self) -> int:
            faults.fault("inside", "reason")
            return super().__hash__()

    thread = threading.Thread(target=faults.fault, args=(Place("outside"), "reason"), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert faults.fault_counts().keys() == {"outside", "inside"}


def test_warnings_of_names_without_end_have_an_end(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3000):
        faults.warn_once(f"usage {number}", "a usage of %s", number)
    assert len(warnings_of(caplog)) == 1000
    faults.warn_once("port", "port 1 is taken")
    assert warnings_of(caplog)[1000:] == ["port 1 is taken"]


def test_a_warning_is_told_once_a_key(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        faults.warn_once("port", "port %d is taken", number)
    assert warnings_of(caplog) == ["port 0 is taken"]
