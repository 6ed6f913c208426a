"""The benchmark of whole MCP calls."""

from __future__ import annotations

import pytest

from benchmarks import mcp, mcp_peers

pytestmark = pytest.mark.mcp


@pytest.mark.parametrize("server", mcp.SERVERS, ids=[name for name, *_ in mcp.SERVERS])
def test_each_way_to_measure_a_call_is_a_row(
    server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "_CALLS", 3)
    monkeypatch.setattr(mcp, "_FIRST", 1)
    monkeypatch.setattr(mcp, "_PAUSE", 0.0)
    monkeypatch.setattr(mcp, "SERVERS", [server])
    ours, *floors = mcp.requests(rounds=1)
    assert ours.limit is not None
    # What stands beside it has no limit, and is named after the row that it explains.
    ways = [", the floor", *mcp._FLOORS]
    assert [(floor.row, floor.limit) for floor in floors] == [
        (ours.row + way, None) for way in ways
    ]


def test_an_instrumentation_of_others_is_left_out_where_it_makes_no_span_of_a_call() -> None:
    low_level = [name for name, *_ in mcp.SERVERS].index("low-level")
    assert (mcp_peers._in_a_process("metertap", low_level) or 0.0) > 0.0
    # The SDK makes spans of its own since 2.0.
    traced = mcp_peers._in_a_process("the SDK's own spans", low_level)
    assert (traced is None) == (mcp.MAJOR == "1")
    assert mcp_peers._in_a_process("no such instrumentation", low_level) is None
