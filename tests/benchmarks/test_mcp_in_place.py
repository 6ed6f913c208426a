"""The layers by which the benchmark tells what is added inside an MCP call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import metertap
from benchmarks import mcp, mcp_in_place

pytestmark = pytest.mark.mcp


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_in_place, "_CALLS", 5)
    monkeypatch.setattr(mcp_in_place, "_FIRST", 2)


def methods() -> dict[str, Any]:
    return {name: vars(owner).get(name) for owner, name in mcp_in_place._patched()}


@pytest.mark.parametrize("build", [mcp._low_level, mcp._high_level])
def test_what_is_added_is_measured_around_what_metertap_really_puts_there(build: Any) -> None:
    stood: dict[str, str] = {}

    @contextmanager
    def measured() -> Iterator[None]:
        with metertap.instrument(json_endpoint=False):
            stood.update({name: method.__code__.co_name for name, method in methods().items()})
            yield

    before = methods()
    between = mcp_in_place._between(build, measured)
    assert {"send_request"} < set(between)
    assert min(between.values()) > 0.0
    after = methods()
    assert {name: after[name] for name in before} == before
    # No layer keeps metertap from the functions that are written by hand for the SDK's own.
    serves = "_handle_request" if mcp.MAJOR == "1" else "_on_request"
    assert (stood[serves], stood["send_request"]) == (serves, "send_request")


def test_both_layers_see_the_same_calls_and_the_handlers_own() -> None:
    inside: mcp_in_place.Steps = {}
    around: mcp_in_place.Steps = {}
    with (
        mcp_in_place._layered(inside, around),
        metertap.instrument(json_endpoint=False),
        mcp_in_place._layered(around, inside),
    ):
        mcp_in_place._spent(mcp._high_level, inside, around)
    # A session's loop, which lasts as long as the session, is none of a call.
    noted = {name: len(seconds) for name, seconds in around.items() if len(seconds) >= 5}
    assert noted == {name: len(inside[name]) for name in noted}
    assert noted["send_request"] == noted["call_tool"] == 5
    if mcp.MAJOR != "1":  # where a thread may run the handler
        assert noted[mcp_in_place._HANDLER] == 5
