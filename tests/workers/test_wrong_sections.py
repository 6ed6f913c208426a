"""What another worker sends is refused where it is wrong, and never half believed."""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap import outcomes
from metertap.workers import checking, exchange, merging
from metertap.workers.checking import Malformed, Samples, decimals, integers, moment, total
from metertap.workers.coding import decoder
from metertap.workers.exchange import Changes, Heard, Told
from metertap.workers.rows import Part
from metertap.workers.sections import Section
from metertap.workers.wire import VERSION, loaded
from support.told import ledger_of, merged


def written_tools() -> tuple[Section, list[Any], bytes]:
    """One tool with two calls, as columns and the samples that come after them."""
    ledger = ledger_of([(outcomes.OK, 5.0), (outcomes.TIMEOUT, 7.0)])
    tools = ledger.sections["tools"]
    samples: list[bytes] = []
    written = tools.encoded(Told().changes(ledger.now(["tools"])["tools"]), samples)
    return tools, json.loads(json.dumps(written)), b"".join(samples)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [True],
        [True, [["search"]], 1, 5],
        [True, [["search", "library"]], 1, []],
        [True, [["search", "library"]], [0], []],
        [True, [["search", "library"]], 2**70, []],
        [True, [[5, "library"]], 1, None],
        [True, 5, 1, None],
        "x" * 20,
    ],
)
def test_what_is_no_section_is_refused(wrong: object) -> None:
    tools, _, samples = written_tools()
    with pytest.raises(Malformed):
        tools.decoded(wrong, Samples(memoryview(samples)))


@pytest.mark.parametrize("number", [-1, 1, 2**63 - 1])
def test_an_item_without_a_key_is_refused(number: int) -> None:
    tools, written, samples = written_tools()
    numbers = array("q", [number]).tobytes()
    data = numbers + samples[8:]
    with pytest.raises(Malformed):
        Heard().take(tools.decoded(written, Samples(memoryview(data))))


def places(column: Any) -> Iterator[tuple[list[Any], int]]:
    """Every place in nested lists."""
    if isinstance(column, list):
        for number, part in enumerate(column):
            yield column, number
            yield from places(part)


@given(st.data())
def test_any_other_value_in_the_place_of_one_is_refused_or_sane(data: st.DataObject) -> None:
    tools, written, samples = written_tools()
    sound = Heard()
    sound.take(tools.decoded(written, Samples(memoryview(samples))))
    (part,) = sound.items.values()
    holder, number = data.draw(st.sampled_from([*places(written[2:])]))
    holder[number] = data.draw(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.none() | st.integers() | st.booleans(), max_size=3)
        | st.lists(st.lists(st.integers(0, 2**40), max_size=2), max_size=3)
        | st.dictionaries(st.text(max_size=3), st.integers(-5, 5), max_size=3)
    )
    is_refused_or_sane(tools, written, samples, part)


@given(st.integers(0), st.binary(min_size=8, max_size=8) | st.just(bytes(8)), st.booleans())
def test_any_other_number_in_the_place_of_one_is_refused_or_sane(
    place: int, number: bytes, is_cut: bool
) -> None:
    tools, written, samples = written_tools()
    sound = Heard()
    sound.take(tools.decoded(written, Samples(memoryview(samples))))
    (part,) = sound.items.values()
    start = place % (len(samples) // 8) * 8
    other = samples[:start] + number + (b"" if is_cut else samples[start + 8 :])
    is_refused_or_sane(tools, written, other, part)


def is_refused_or_sane(tools: Section, written: Any, samples: bytes, part: Part) -> None:
    """Take what may be wrong: it is refused, or it can be merged and sent again."""
    found = Heard()
    try:
        found.take(tools.decoded(json.loads(json.dumps(written)), Samples(memoryview(samples))))
    except Malformed:
        return
    for other in found.items.values():
        merged_part = merged(merging.tools, other, part)
        assert all(count >= 0 for count in merged_part.figures.counts.values())
        json.dumps(tools.encoded(Changes(True, [], [0], [merged_part]), []), allow_nan=False)


def test_a_text_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(Malformed, match="cannot be written"):
        decoder(str)(["search", "\ud800"], 2, Samples(memoryview(b"")))


def test_json_that_takes_many_times_its_length_is_refused() -> None:
    parts = b'{"version": 7, "x": [' + b"[]," * 3_000_000 + b"[]]}"
    with pytest.raises(Malformed, match="too many parts"):
        loaded(struct.pack(">I", len(parts)) + parts)
    texts = json.dumps({"version": VERSION, "x": ["x" * 1000] * 10_000}).encode()
    found, _ = loaded(struct.pack(">I", len(texts)) + texts)
    assert len(found["x"]) == 10_000


def test_what_is_no_time_is_refused() -> None:
    assert (moment(5), moment(-1e300)) == (5.0, -1e300)
    for wrong in (True, "5", None, float("nan"), float("inf"), 2e300, 2**1100):
        with pytest.raises(Malformed, match="no time"):
            moment(wrong)


def test_what_is_no_amount_is_refused() -> None:
    none = Samples(memoryview(b""))
    assert decimals(["0", "-1.5", "1e100"], 3, none) == [0, Decimal("-1.5"), Decimal("1e100")]
    for wrong in ("", "x", "NaN", "Infinity", "1e101", "1e-101"):
        with pytest.raises(Malformed, match="no amount"):
            decimals([wrong], 1, none)


@pytest.mark.parametrize("others", [0, 5])
def test_counts_have_an_end(others: int) -> None:
    def read(largest: int) -> list[int]:
        numbers = array("Q", [*[1] * others, largest])
        return [*integers(None, len(numbers), Samples(memoryview(numbers.tobytes())))]

    assert read(2**62)[-1] == 2**62
    for wrong in (2**62 + 1, 2**63, 2**64 - 1):
        with pytest.raises(Malformed, match="no count"):
            read(wrong)


def test_members_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_MOST_MEMBERS", 5)
    assert total([2, 3]) == 5
    with pytest.raises(Malformed, match="too long"):
        total([3, 3])


def test_items_have_an_end_and_each_has_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MOST_ITEMS", 2)
    heard, keys = Heard(), [("a",), ("b",), ("c",)]
    with pytest.raises(Malformed, match="too many items"):
        heard.take(Changes(True, keys, [0], ["x"]))
    heard.take(Changes(False, keys[:1], [0], ["x"]))
    for number in (1, 2):
        with pytest.raises(Malformed, match="no key"):
            heard.take(Changes(False, [], [number], ["y"]))
    heard.take(Changes(False, keys[1:2], [1], ["y"]))
    assert heard.items == {("a",): "x", ("b",): "y"}
    with pytest.raises(Malformed, match="too many items"):
        heard.take(Changes(False, keys[2:], [2], ["z"]))
    heard.take(Changes(True, keys[2:], [0], ["z"]))
    assert heard.items == {("c",): "z"}


@pytest.mark.parametrize("names", [["a", "a" * 10_001], [5], "ab", None])
def test_names_of_counts_are_texts_of_bounded_length(names: Any) -> None:
    numbers = array("q", [0, *range(2)]).tobytes()
    with pytest.raises(Malformed):
        decoder(dict[str, int])([[names], None], 1, Samples(memoryview(numbers)))
