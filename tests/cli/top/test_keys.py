"""The keys that a terminal sends."""

from __future__ import annotations

from metertap.cli.top.keys import Keys


def test_keys_may_come_in_parts() -> None:
    keys = Keys()
    assert keys.feed(b"a\x1b[") == ["a"]
    assert keys.is_waiting
    assert keys.feed(b"5~\xc3") == ["page up"]
    assert keys.feed(b"\xa9\x1b[1;5C\x1bOA") == ["é", "up"]  # one that is not known does nothing
    assert keys.feed(b"\x1b") == []
    assert keys.flush() == ["escape"]
    assert keys.feed(b"\x1b\x1b[B\x00\x9c") == ["escape", "down", "�"]
