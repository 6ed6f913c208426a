"""What another worker has already is not sent again, and what never came is not believed."""

from __future__ import annotations

import math
import random
import socket
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap import outcomes
from metertap.recording import Recorder
from metertap.workers import records, rows
from metertap.workers.checking import Malformed, Samples
from metertap.workers.coding import decoder
from metertap.workers.exchange import Changes, Heard, Told
from metertap.workers.ledger import Ledger
from metertap.workers.lines import Incoming, Message
from metertap.workers.records import Head
from metertap.workers.rows import Rows, Written, changed_places
from metertap.workers.sections import Section, of_recorder
from metertap.workers.wire import VERSION, dumped, framed, loaded

TOOLS = ("search", "order", "pay")
AS_BEFORE: dict[str, Any] = {}


class Teller:
    """One worker, and what another one has heard of its tools."""

    def __init__(self) -> None:
        self.recorder = Recorder(window_size=30)
        self.ledger = Ledger(self.recorder, of_recorder(self.recorder))
        self.section: Section = self.ledger.sections["tools"]
        self.told, self.heard = Told(), Heard()

    def call(self, *names: str, outcome: str = outcomes.OK) -> None:
        for name in names:
            self.recorder.record_tool(self.recorder.tool(name, "library"), outcome, None, 5.0)

    def message(self) -> tuple[list[Any], bytes]:
        samples: list[bytes] = []
        changes = self.told.changes(self.ledger.now(["tools"])["tools"])
        return self.section.encoded(changes, samples), b"".join(samples)

    def tell(self) -> list[Any]:
        written, samples = self.message()
        self.heard.take(self.read(written, samples))
        return written

    def read(self, written: Any, samples: bytes = b"") -> Changes:
        found, left = loaded(dumped({"version": VERSION, "of": written}, [samples]))
        return self.section.decoded(found["of"], left)


def test_columns_that_another_worker_has_are_left_out() -> None:
    teller, by = Teller(), random.Random(1)
    teller.call(*TOOLS)
    (_, _, _, (columns, _)) = teller.tell()
    assert AS_BEFORE not in columns
    for _ in range(20):
        teller.call(*by.sample(TOOLS, by.randrange(1, 4)))
        (_, _, _, (columns, _)) = teller.tell()
        assert columns.count(AS_BEFORE) > len(columns) // 2
        now = teller.ledger.now(["tools"])["tools"]
        assert [part.figures for part in teller.heard.items.values()] == [
            part.figures for part in now.values()
        ]
    teller.call("ship", "pay")  # of one of these nothing is known
    (_, _, _, (columns, _)) = teller.tell()
    assert AS_BEFORE not in columns
    assert [*teller.heard.items] == [*teller.ledger.now(["tools"])["tools"]]


def test_what_was_left_out_though_it_never_came_is_refused() -> None:
    teller = Teller()
    teller.call(*TOOLS)
    written, samples = teller.message()
    are_all, keys, count, (columns, windows) = written
    for place in range(len(columns)):
        with_less = [*columns[:place], AS_BEFORE, *columns[place + 1 :]]
        with pytest.raises(Malformed):
            Heard().take(teller.read([are_all, keys, count, [with_less, windows]], samples))
    with pytest.raises(Malformed):
        teller.read([are_all, keys, count, [columns, [[AS_BEFORE] * 3]]], samples)


def test_an_item_is_none_of_the_keys_that_have_items() -> None:
    teller = Teller()
    teller.call(*TOOLS)
    changes = teller.read(*teller.message())
    with pytest.raises(Malformed):
        Rows().after((), [0, 1, 2], changes.items)


def test_what_changed_since_the_rows_before_is_what_came() -> None:
    teller = Teller()
    teller.call(*TOOLS)
    teller.tell()
    first: Any = teller.heard.items
    teller.call("order")
    changes = teller.read(*teller.message())
    second: Any = first.after(changes.keys, changes.numbers, changes.items)
    assert second.changed_since(first) is changes.numbers
    assert changed_places(first, second) == [1]
    third = second.after((), [2], changes.items)
    assert third.changed_since(first) == [1, 2]
    without = Rows().after([("a",)], [0], Written(tuple, [["a"]]))
    assert without.windows([0]) == []
    assert without["a",] == ("a",)


def test_windows_of_tools_without_others_are_taken_as_one_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teller = Teller()
    monkeypatch.delattr(rows, "accumulate")
    for _ in range(2):
        teller.call(*TOOLS)
        teller.tell()
    assert teller.heard.items["pay", "library"].runs[0].size == 2


def test_of_a_section_that_has_not_changed_the_time_alone_is_saved() -> None:
    teller, told = Teller(), dict[str, Told]()
    teller.call(*TOOLS)
    known = teller.ledger.sections
    now = teller.ledger.now(known)
    first, second = (
        records.written(Head(), known, {name: (now[name], at) for name in now}, told)
        for at in (1.0, 2.0)
    )
    one, both = (records.read(data, known) for data in (first, first + second))
    assert both.sheet == one.sheet
    assert set(both.at.values()) == {2.0}
    assert len(second) < len(first) / 2
    assert b"search" not in second


@pytest.mark.parametrize("kind", ["one by one", "whole"])
def test_a_message_is_read_in_pieces_of_any_length(kind: str) -> None:
    message = framed({"sections": ["tools"] * 900}, [bytes(8)])
    assert len(message) > 4096
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        incoming, size = Incoming(2**20), 1 if kind == "one by one" else len(message)
        for _ in range(2):  # one after the other
            found: list[Message] = []
            for start in range(0, len(message), size):
                near.sendall(message[start : start + size])
                while (taken := incoming.take(far)) is None and start + size >= len(message):
                    pass
                found += [] if taken is None else [taken]
            ((content, samples),) = found
            assert content["sections"] == ["tools"] * 900
            assert samples.take(1, "q", b"\0") == (array("q", [0]), True)
        assert incoming.take(far) is None


def test_more_than_a_message_is_refused() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.sendall(framed({}) + b"x")
        with pytest.raises(Malformed):
            Incoming(2**20).take(far)


@given(st.lists(st.floats(allow_subnormal=True), min_size=1, max_size=5))
def test_numbers_are_those_that_were_sent_or_refused(values: list[float]) -> None:
    data = memoryview(array("d", values).tobytes())
    are_numbers = all(math.isfinite(value) and abs(value) <= 1e300 for value in values)
    try:
        found = [*decoder(float)(None, len(values), Samples(data))]
    except Malformed:
        assert not are_numbers
    else:
        assert are_numbers
        assert found == values
