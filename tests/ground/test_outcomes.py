"""Exceptions and what they mean for a call: by type alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from http import HTTPStatus

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


def test_groups_may_be_in_groups_to_any_depth() -> None:
    error: BaseException = TimeoutError()
    for _ in range(2 * sys.getrecursionlimit()):
        error = group(error)
    assert outcomes.Ending.by(error).outcome == outcomes.TIMEOUT


def test_a_group_that_has_the_same_errors_again_and_again_is_looked_at_once() -> None:
    same = group(asyncio.CancelledError())
    for _ in range(100):
        same = group(same, same)
    assert outcomes.of_exception(same) == outcomes.CANCELLED
    assert outcomes.of_exception(group(same, KeyError())) == outcomes.EXCEPTION


ANSWERED = [
    ("starlette.exceptions", "HTTPException", 404, outcomes.CALLER_ERROR),
    ("fastapi", "HTTPException", HTTPStatus(422), outcomes.CALLER_ERROR),
    ("fastapi", "HTTPException", 408, outcomes.TIMEOUT),
    ("fastapi", "HTTPException", 503, outcomes.EXCEPTION),
    ("fastapi", "HTTPException", 504, outcomes.TIMEOUT),
    ("werkzeug.exceptions", "NotFound", 404, outcomes.CALLER_ERROR),
    ("werkzeug.exceptions", "GatewayTimeout", 504, outcomes.TIMEOUT),
    ("aiohttp.web", "HTTPForbidden", 403, outcomes.CALLER_ERROR),
]


@pytest.mark.parametrize(("module", "name", "status", "expected"), ANSWERED)
def test_what_a_web_framework_answers_by_its_status_is_told_by_that(
    module: str, name: str, status: int, expected: str
) -> None:
    cls = getattr(pytest.importorskip(module), name)
    error = cls(status) if name == "HTTPException" else cls()
    assert outcomes.Ending.by(error) == outcomes.Ending(expected, str(int(status)))


def test_an_http_exception_without_a_failed_status_is_told_by_its_class() -> None:
    of_a_client = type("HTTPException", (Exception,), {"status": 404})()
    redirect = pytest.importorskip("aiohttp.web").HTTPFound("/")
    without = pytest.importorskip("werkzeug.exceptions").HTTPException()
    for error in (of_a_client, redirect, without, http.client.HTTPException()):
        expected = outcomes.Ending(outcomes.EXCEPTION, type(error).__qualname__)
        assert outcomes.Ending.by(error) == expected


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
