"""Columns and lines in the room that there is."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("rich", reason="the live view needs rich")

from metertap.cli.top.layout import ColumnRequest, lay_out, shortened
from metertap.cli.top.screen import shares


def test_columns_go_by_rank_and_the_rest_share_the_room() -> None:
    requests = [
        ColumnRequest(40, 20, 0),
        ColumnRequest(7, 7, 2),
        ColumnRequest(7, 7, 1),
        ColumnRequest(20, 10, 3),
    ]
    assert lay_out(requests, 120).widths == (40, 7, 7, 20)
    assert lay_out(requests, 60).columns == (0, 1, 2, 3)
    assert sum(lay_out(requests, 60).widths) + 3 == 60
    assert lay_out(requests, 40).columns == (0, 1, 2)
    assert lay_out(requests, 10).columns == (0,)
    assert shortened("get_customer_by_id", 11) == "get_c…by_id"
    assert shortened("日本語日本語", 7) == "日…語"  # two cells each
    assert shortened("same", 4) == "same"


@pytest.mark.parametrize("seed", range(50))
def test_lines_are_shared_out_whole_and_the_focused_table_gets_most(seed: int) -> None:
    chance = random.Random(seed)
    needs = [chance.choice((1, 2, 5, 20, 300)) for _ in range(chance.choice((1, 2, 3)))]
    room, focused = chance.randrange(len(needs), 60), chance.randrange(len(needs))
    given = shares(needs, room, focused)
    assert sum(given) == room or (sum(needs) > room > sum(given) - 1)
    assert min(given) >= 0
    if sum(needs) <= room:
        assert all(lines >= need for lines, need in zip(given, needs, strict=True))
    else:
        assert given[focused] >= min(needs[focused], room - room // 3)
