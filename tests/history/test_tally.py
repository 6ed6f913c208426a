"""The counts of one period: what adds up, and what comes back from bytes."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from metertap.history.tally import Tally, decode, decompress, encode, tallies


def tally(**parts: Any) -> Tally:
    """A tally with these parts, `seconds` among them."""
    seconds = parts.pop("seconds", ())
    made = Tally(**parts)
    if seconds:
        made.sketch().add(seconds)
    return made


def figures(found: Tally) -> dict[str, Any]:
    sketch = found.latency
    return {
        **dict(
            zip(("outcomes", "errors", "", "hits", "misses", "extra"), found.parts(), strict=True)
        ),
        "": None if sketch is None else (sketch.count, sketch.total, sketch.maximum),
    }


WHOLE: dict[str, Any] = {
    "outcomes": {"ok": 2, "exception": 1},
    "error_types": {"KeyError": 1},
    "hits": 3,
    "misses": 4,
    "extra": {"cost_usd": 0.5},
    "seconds": [0.125, 0.25, 0.5],
}


def test_tallies_add_up_part_by_part() -> None:
    total = tally(outcomes={"ok": 1}, hits=1, misses=1)
    total.merge(tally(**WHOLE))
    total.merge(tally(outcomes={"timeout": 1}, extra={"cost_usd": 0.25, "model_calls": 2}))
    assert total.outcomes == {"ok": 3, "exception": 1, "timeout": 1}
    assert total.error_types == {"KeyError": 1}
    assert (total.hits, total.misses) == (4, 5)
    assert total.extra == {"cost_usd": 0.75, "model_calls": 2}
    assert total.latency is not None
    assert total.latency.count == 3
    assert total.latency.total == 0.875


def test_bytes_hold_each_part_of_each_series() -> None:
    made = {
        7: tally(**WHOLE),
        8: tally(),
        2: tally(outcomes={"ok": 5}),
        9: tally(extra={"cost_usd": 1.0}),
        3: tally(hits=2, seconds=[0.5]),
    }
    found = dict(decode(encode(made)))
    assert list(found) == list(made)
    for series, one in made.items():
        assert figures(found[series]) == figures(one)
    assert zlib.decompress(encode({8: tally()})) == b"[[8,0]]\n"  # no room for what is not there
    wanted = dict(tallies(decompress(encode(made)), {3, 5, 9}))
    assert {series: figures(one) for series, one in wanted.items()} == {
        series: figures(made[series]) for series in (9, 3)
    }


def written(lines: Any) -> bytes:
    return zlib.compress(json.dumps(lines).encode() + b"\n")


@pytest.mark.parametrize(
    "lines",
    [
        5,
        [5],
        [[1]],
        [["1", 0]],
        [[1, 0, 5]],
        [[1, 0, {"ok": "many"}]],
        [[1, 0, {"ok": True}]],
        [[1, 0, {"ok": 2**62 + 2**10}]],
        [[1, 0, {}, {}, None]],
        [[-(2**63), 0]],
        [[1, -1]],
        [[1, 0, {}, {}, 0, 0, {"cost_usd": float("nan"), "tokens": 1}]],
        {"1": 0},
    ],
)
def test_other_lines_are_refused(lines: Any) -> None:
    with pytest.raises(ValueError, match=r"has no counts|has no lines|less than no bytes"):
        list(decode(written(lines)))


def test_the_largest_number_is_one() -> None:
    (found,) = decode(written([[1, 0, {"ok": 2**62}, {"KeyError": -(2**62)}]]))
    assert found[1].outcomes == {"ok": 2**62}


def test_a_row_that_is_cut_off_or_swells_is_refused() -> None:
    whole = encode({1: tally(**WHOLE)})
    swelling = zlib.compress(b" " * (64 * 2**20 + 1), 1)
    for wrong in (whole[:-5], swelling):
        with pytest.raises(ValueError, match="longer than any of ours"):
            list(decode(wrong))


def test_lines_that_swell_are_refused_before_they_are_read() -> None:
    long = zlib.compress(b"[" + b" " * (16 * 2**20) + b"]\n", 1)
    with pytest.raises(ValueError, match="longer lines than any of ours"):
        list(decode(long))
    with pytest.raises(ValueError, match="a series twice"):
        list(decode(written([[1, 0], [2, 0], [1, 0]])))
