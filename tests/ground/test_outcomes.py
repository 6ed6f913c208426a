"""Exceptions and what they mean for a call: by type alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import subprocess
import sys
from collections.abc import Callable

import pytest

from metertap import outcomes

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

pytestmark = pytest.mark.interpreter


def named(name: str, *bases: type[BaseException]) -> BaseException:
    """An exception like a library's: of a class that is called so."""
    return type(name, bases or (Exception,), {})()


def child_of(root: BaseException, name: str) -> BaseException:
    return named(name, type(root))


def group(*errors: BaseException) -> BaseException:
    return BaseExceptionGroup("of a task group", errors)


RAISED: list[tuple[str, Callable[[], BaseException], str]] = [
    ("built-in", TimeoutError, outcomes.TIMEOUT),
    ("asyncio", asyncio.TimeoutError, outcomes.TIMEOUT),
    ("futures", concurrent.futures.TimeoutError, outcomes.TIMEOUT),
    ("multiprocessing", multiprocessing.TimeoutError, outcomes.TIMEOUT),
    ("errno", lambda: OSError(110, "Connection timed out"), outcomes.TIMEOUT),
    ("subprocess", lambda: subprocess.TimeoutExpired("sleep", 1), outcomes.TIMEOUT),
    ("httpx", lambda: child_of(named("TimeoutException"), "ReadTimeout"), outcomes.TIMEOUT),
    ("requests", lambda: child_of(named("Timeout", OSError), "Slow"), outcomes.TIMEOUT),
    ("redis", lambda: named("TimeoutError"), outcomes.TIMEOUT),
    ("openai", lambda: named("APITimeoutError", ConnectionError), outcomes.TIMEOUT),
    ("trio", lambda: named("TooSlowError"), outcomes.TIMEOUT),
    ("gevent", lambda: named("Timeout", BaseException), outcomes.TIMEOUT),
    ("task cancelled", asyncio.CancelledError, outcomes.CANCELLED),
    ("future cancelled", concurrent.futures.CancelledError, outcomes.CANCELLED),
    ("trio cancelled", lambda: named("Cancelled", BaseException), outcomes.CANCELLED),
    ("generator closed", GeneratorExit, outcomes.CANCELLED),
    ("an order's state", lambda: named("Cancelled"), outcomes.EXCEPTION),
    ("interrupt", KeyboardInterrupt, outcomes.CANCELLED),
    ("own interrupt", lambda: child_of(KeyboardInterrupt(), "Stop"), outcomes.CANCELLED),
    ("exit", SystemExit, outcomes.EXCEPTION),
    ("defect", ValueError, outcomes.EXCEPTION),
    ("trio's group", lambda: group(named("Cancelled", BaseException)), outcomes.CANCELLED),
    ("group in group", lambda: group(group(TimeoutError()), TimeoutError()), outcomes.TIMEOUT),
    ("half cancelled", lambda: group(asyncio.CancelledError(), KeyError()), outcomes.EXCEPTION),
    ("half timed out", lambda: group(TimeoutError(), KeyError()), outcomes.EXCEPTION),
    ("called a group", lambda: named("BaseExceptionGroup"), outcomes.EXCEPTION),
    ("words only", lambda: RuntimeError("timeout: cancelled"), outcomes.EXCEPTION),
    ("about timeouts", lambda: named("TimeoutPolicyMissing"), outcomes.EXCEPTION),
]


@pytest.mark.parametrize(
    ("make", "expected"), [row[1:] for row in RAISED], ids=[r[0] for r in RAISED]
)
def test_an_exception_is_told_by_its_type(make: Callable[[], BaseException], expected: str) -> None:
    assert outcomes.of_exception(make()) == expected


@pytest.mark.parametrize(
    ("error_type", "expected"),
    [
        ("ValueError", outcomes.EXCEPTION),
        ("TimeoutError", outcomes.TIMEOUT),
        ("httpx.ReadTimeout", outcomes.TIMEOUT),
        ("timeout", outcomes.TIMEOUT),
        ("asyncio.exceptions.CancelledError", outcomes.CANCELLED),
        ("tool_error", outcomes.TOOL_ERROR),
        ("ok", outcomes.EXCEPTION),
        ("", outcomes.EXCEPTION),
    ],
)
def test_an_error_type_alone_says_what_its_name_says(error_type: str, expected: str) -> None:
    assert outcomes.of_error_type(error_type) == expected


def test_the_type_of_an_error_is_its_qualified_class_name() -> None:
    class Inner(Exception):
        pass

    assert outcomes.error_type(Inner()).endswith("<locals>.Inner")
    assert outcomes.error_type(asyncio.CancelledError()) == "CancelledError"


def test_failed_and_sampled_are_what_rates_and_percentiles_are_made_of() -> None:
    assert set(outcomes.ALL) - outcomes.SAMPLED == {"cancelled", "caller_error", "interim"}
    assert {"ok"} == outcomes.SAMPLED - outcomes.FAILED
