"""Exceptions and what they mean for a call: by type alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import subprocess
from collections.abc import Callable

import pytest

from metertap import outcome


def named(name: str, *bases: type[BaseException]) -> BaseException:
    """An exception like a library's: of a class that is called so."""
    return type(name, bases or (Exception,), {})()


def child_of(root: BaseException, name: str) -> BaseException:
    return named(name, type(root))


RAISED: list[tuple[str, Callable[[], BaseException], str]] = [
    ("built-in", TimeoutError, outcome.TIMEOUT),
    ("asyncio", asyncio.TimeoutError, outcome.TIMEOUT),
    ("futures", concurrent.futures.TimeoutError, outcome.TIMEOUT),
    ("multiprocessing", multiprocessing.TimeoutError, outcome.TIMEOUT),
    ("errno", lambda: OSError(110, "Connection timed out"), outcome.TIMEOUT),
    ("subprocess", lambda: subprocess.TimeoutExpired("sleep", 1), outcome.TIMEOUT),
    ("httpx", lambda: child_of(named("TimeoutException"), "ReadTimeout"), outcome.TIMEOUT),
    ("requests", lambda: child_of(named("Timeout", OSError), "Slow"), outcome.TIMEOUT),
    ("redis", lambda: named("TimeoutError"), outcome.TIMEOUT),
    ("openai", lambda: named("APITimeoutError", ConnectionError), outcome.TIMEOUT),
    ("trio", lambda: named("TooSlowError"), outcome.TIMEOUT),
    ("gevent", lambda: named("Timeout", BaseException), outcome.TIMEOUT),
    ("task cancelled", asyncio.CancelledError, outcome.CANCELLED),
    ("future cancelled", concurrent.futures.CancelledError, outcome.CANCELLED),
    ("trio cancelled", lambda: named("Cancelled", BaseException), outcome.CANCELLED),
    ("generator closed", GeneratorExit, outcome.CANCELLED),
    ("an order's state", lambda: named("Cancelled"), outcome.EXCEPTION),
    ("interrupt", KeyboardInterrupt, outcome.EXCEPTION),
    ("exit", SystemExit, outcome.EXCEPTION),
    ("defect", ValueError, outcome.EXCEPTION),
    ("words only", lambda: RuntimeError("timeout: cancelled"), outcome.EXCEPTION),
    ("about timeouts", lambda: named("TimeoutPolicyMissing"), outcome.EXCEPTION),
]


@pytest.mark.parametrize(
    ("make", "expected"), [row[1:] for row in RAISED], ids=[r[0] for r in RAISED]
)
def test_an_exception_is_told_by_its_type(make: Callable[[], BaseException], expected: str) -> None:
    assert outcome.of_exception(make()) == expected


@pytest.mark.parametrize(
    ("error_type", "expected"),
    [
        ("ValueError", outcome.EXCEPTION),
        ("TimeoutError", outcome.TIMEOUT),
        ("httpx.ReadTimeout", outcome.TIMEOUT),
        ("timeout", outcome.TIMEOUT),
        ("asyncio.exceptions.CancelledError", outcome.CANCELLED),
        ("tool_error", outcome.TOOL_ERROR),
        ("ok", outcome.EXCEPTION),
        ("", outcome.EXCEPTION),
    ],
)
def test_an_error_type_alone_says_what_its_name_says(error_type: str, expected: str) -> None:
    assert outcome.of_error_type(error_type) == expected


def test_the_type_of_an_error_is_its_qualified_class_name() -> None:
    class Inner(Exception):
        pass

    assert outcome.error_type(Inner()).endswith("<locals>.Inner")
    assert outcome.error_type(asyncio.CancelledError()) == "CancelledError"


def test_failed_and_sampled_are_what_rates_and_percentiles_are_made_of() -> None:
    assert set(outcome.ALL) - outcome.SAMPLED == {"cancelled", "caller_error", "interim"}
    assert {"ok"} == outcome.SAMPLED - outcome.FAILED
