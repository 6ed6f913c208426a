"""What the exception behind an MCP error means: by its class, its code and where it was raised."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from metertap.outcomes import (
    CALLER_ERROR,
    CANCELLED,
    EXCEPTION,
    INTERIM,
    TIMEOUT,
    TOOL_ERROR,
)
from metertap_instrumentation.tools.mcp import errors
from metertap_instrumentation.tools.mcp.errors import Meaning

pytestmark = pytest.mark.mcp

TOOL = "shop:search"
SDK = "mcp.server.lowlevel.server:handler"
CALLS_TOOL = "mcp.server.fastmcp.utilities.func_metadata:call_fn_with_arg_validation"
VALIDATES = "mcp.server.mcpserver.utilities.func_metadata:validate_arguments"
LOOKS_UP = "fastmcp.server.server:get_tool"
PYDANTIC = "pydantic.main:validate"


def framework_class(name: str, *bases: type, module: str = "mcp.shared.exceptions") -> Any:
    return type(name, bases or (Exception,), {"__module__": module})


ToolError = framework_class("ToolError", module="mcp.server.fastmcp.exceptions")
Coded = framework_class("MCPError")
NotFoundError = framework_class("NotFoundError", module="fastmcp.exceptions")
DisabledError = framework_class("DisabledError", module="fastmcp.exceptions")
AuthorizationError = framework_class("AuthorizationError", module="fastmcp.exceptions")
Rejected = framework_class("ValidationError", module="fastmcp.exceptions")


def coded(code: object, kind: Any = Coded) -> Any:
    error = kind()
    error.error = SimpleNamespace(code=code)
    return error


def invalid() -> ValidationError:
    """pydantic's own error."""

    class Model(BaseModel):
        number: int

    try:
        Model(number="many")  # type: ignore[arg-type]
    except ValidationError as error:
        return error.with_traceback(None)
    raise AssertionError


def raised(error: BaseException, *places: str, cause: BaseException | None = None) -> BaseException:
    """Return `error` as it comes through these places, each `module:function`, outermost first."""

    def call() -> None:
        error.__cause__ = cause
        raise error.with_traceback(None)

    inner: Callable[[], None] = call
    for place in reversed(places):
        module, _, function = place.partition(":")
        found: dict[str, Any] = {"__name__": module, "inner": inner}
        exec(f"def {function}(): inner()", found)
        inner = found[function]
    try:
        inner()
    except BaseException as caught:
        # Without our own frames, the outermost and the innermost.
        frames = []
        traceback = caught.__traceback__
        while traceback is not None:
            frames.append(traceback)
            traceback = traceback.tb_next
        frames[-2].tb_next = None
        return caught.with_traceback(frames[1])
    raise AssertionError


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        *((code, CALLER_ERROR) for code in (-32700, -32600, -32601, -32602)),
        *((code, TIMEOUT) for code in (-32001, 408)),
        (-32042, INTERIM),
        *((code, EXCEPTION) for code in (-32603, -32000, -32002, -32043, -32041, 0, 407, 4711)),
    ],
)
def test_a_code_means_what_the_protocols_say(code: int, outcome: str) -> None:
    assert errors.of_code(code) == outcome
    assert errors.meaning(raised(coded(code), TOOL)) == Meaning(outcome, str(code))


def test_only_an_error_of_the_sdk_has_a_code() -> None:
    assert errors.code_of(coded(5)) == 5
    assert errors.code_of(coded("5")) is None
    assert errors.code_of(coded(5, type("Own", (Coded,), {}))) == 5
    assert errors.code_of(coded(5, framework_class("Other", module="shop"))) is None
    assert errors.code_of(coded(5, framework_class("Other", module="mcprofessional"))) is None
    assert errors.code_of(KeyError()) is None


@pytest.mark.parametrize(
    ("error", "places", "expected"),
    [
        (invalid(), ("mcp.server.runner:_on_request",), True),
        (invalid(), ("mcp.server.runner:_on_request", PYDANTIC), True),
        (invalid(), ("mcp_types.methods:parse",), True),
        (invalid(), ("mcp.server.runner:_on_request", TOOL), False),
        (KeyError(), ("mcp.server.runner:_on_request",), False),
    ],
)
def test_a_malformed_request_is_found_by_the_sdk_itself(
    error: BaseException, places: tuple[str, ...], expected: bool
) -> None:
    assert errors.is_malformed_request(raised(error, *places)) is expected


@pytest.mark.parametrize(
    ("error", "places", "expected"),
    [
        (KeyError(), (SDK, TOOL), Meaning(EXCEPTION, "KeyError")),
        (TimeoutError(), (SDK, TOOL), Meaning(TIMEOUT, "TimeoutError")),
        # Arguments that do not fit, and a model of the tool's own that something does not fit.
        (invalid(), (CALLS_TOOL, PYDANTIC), Meaning(CALLER_ERROR, "ValidationError", True)),
        (invalid(), (VALIDATES,), Meaning(CALLER_ERROR, "ValidationError", True)),
        (invalid(), (VALIDATES, TOOL), Meaning(EXCEPTION, "ValidationError")),
        (invalid(), (SDK, PYDANTIC), Meaning(EXCEPTION, "ValidationError")),
        (invalid(), (CALLS_TOOL, TOOL, VALIDATES), Meaning(EXCEPTION, "ValidationError")),
        (
            invalid(),
            (CALLS_TOOL, "anyio.to_thread:run_sync", VALIDATES),
            Meaning(CALLER_ERROR, "ValidationError", True),
        ),
        (
            invalid(),
            (SDK, "shop:middleware", VALIDATES),
            Meaning(CALLER_ERROR, "ValidationError", True),
        ),
        # What the frameworks refuse themselves, and what a tool says in the same words.
        (
            NotFoundError(),
            (LOOKS_UP,),
            Meaning(CALLER_ERROR, "NotFoundError", False),
        ),
        (
            DisabledError(),
            (LOOKS_UP,),
            Meaning(CALLER_ERROR, "DisabledError", False),
        ),
        (NotFoundError(), (SDK, TOOL), Meaning(EXCEPTION, "NotFoundError")),
        (
            NotFoundError(),
            ("fastmcp.tools.base:run", TOOL, LOOKS_UP),
            Meaning(EXCEPTION, "NotFoundError"),
        ),
        (
            AuthorizationError(),
            ("fastmcp.server.auth:check",),
            Meaning(CALLER_ERROR, "AuthorizationError"),
        ),
        (ToolError(), (SDK,), Meaning(TOOL_ERROR, "ToolError")),
        (ToolError(), (SDK, TOOL), Meaning(TOOL_ERROR, "ToolError")),
        (type("Own", (ToolError,), {})(), (SDK, TOOL), Meaning(TOOL_ERROR, "Own")),
        (
            framework_class("ToolError", module="shop")(),
            (SDK, TOOL),
            Meaning(EXCEPTION, "ToolError"),
        ),
        # An answer of another server, which a tool asked.
        (coded(-32602), (SDK, TOOL, "mcp.client.session:send"), Meaning(EXCEPTION, "MCPError")),
        (coded(408), (SDK, TOOL, "mcp.shared.session:send"), Meaning(TIMEOUT, "MCPError")),
        (coded(-32602), (SDK,), Meaning(CALLER_ERROR, "-32602")),
    ],
)
def test_an_error_means_what_its_place_says(
    error: BaseException, places: tuple[str, ...], expected: Meaning
) -> None:
    assert errors.meaning(raised(error, *places)) == expected


@pytest.mark.parametrize(
    ("error", "cause", "expected"),
    [
        (ToolError(), raised(KeyError(), TOOL), Meaning(EXCEPTION, "KeyError")),
        (ToolError(), raised(TimeoutError(), TOOL), Meaning(TIMEOUT, "TimeoutError")),
        (Rejected(), raised(invalid(), TOOL), Meaning(CALLER_ERROR, "ValidationError", True)),
        (
            ToolError(),
            raised(invalid(), VALIDATES),
            Meaning(CALLER_ERROR, "ValidationError", True),
        ),
        (ToolError(), raised(invalid(), TOOL), Meaning(EXCEPTION, "ValidationError")),
        (coded(-32602), raised(KeyError(), TOOL), Meaning(CALLER_ERROR, "-32602")),
    ],
)
def test_the_sdk_raises_one_error_from_another(
    error: BaseException, cause: BaseException, expected: Meaning
) -> None:
    assert errors.meaning(raised(error, SDK, cause=cause)) == expected


def test_a_tool_that_raises_from_another_error_means_what_it_raises() -> None:
    own = raised(ToolError(), SDK, TOOL, cause=raised(KeyError(), TOOL))
    assert errors.meaning(own) == Meaning(TOOL_ERROR, "ToolError")
    other = raised(ValueError(), SDK, cause=raised(KeyError(), TOOL))
    assert errors.meaning(other) == Meaning(EXCEPTION, "ValueError")


def test_a_code_that_is_raised_for_a_timeout_is_one() -> None:
    error = coded(-32000)
    error.__context__ = TimeoutError()
    assert errors.meaning(raised(error, SDK)) == Meaning(TIMEOUT, "TimeoutError")
    assert errors.meaning(raised(error, TOOL)) == Meaning(EXCEPTION, "-32000")
    plain = ToolError()
    plain.__context__ = TimeoutError()
    assert errors.meaning(raised(plain, SDK)) == Meaning(TOOL_ERROR, "ToolError")


def test_inside_a_tool_an_error_says_nothing_of_how_it_was_called() -> None:
    error = raised(invalid(), VALIDATES)
    assert errors.meaning(error).known is True
    assert errors.meaning(error, inside=True) == Meaning(EXCEPTION, "ValidationError")
    nested = raised(ToolError(), SDK, cause=error)
    assert errors.meaning(nested, inside=True) == Meaning(EXCEPTION, "ValidationError")


def test_what_was_never_raised_means_what_its_class_says() -> None:
    import asyncio

    assert errors.meaning(KeyError()) == Meaning(EXCEPTION, "KeyError")
    assert errors.meaning(asyncio.CancelledError()).outcome == CANCELLED
