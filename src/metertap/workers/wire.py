"""Messages between workers: JSON, and then numbers of eight bytes each.

`metertap.workers.coding` writes and reads their contents.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from metertap.workers.checking import Malformed, Samples

VERSION = 7
"""The version of this format; messages of other versions are not read."""
MOST_BYTES = 64 * 2**20
"""The longest message that is read: 2,000 series with windows of 1,000 samples take 17 MB."""
_USUAL_BYTES = 8 * 2**20
"""The length of JSON up to which its parts are not counted: 2,000 series have at most 6 MB."""
_SIGNS = (b"[", b"{", b",", b":")
_MOST_SIGNS = 5_000_000
"""The most of these signs in longer JSON; each may make an object of some 60 bytes.

20,000 series have 2,500,000. A message of empty lists would take 30 times its length.
"""
_LENGTH = struct.Struct(">I")


class OtherVersion(Malformed):
    """A message that is not in the format of this version."""


def dumped(message: object, samples: Iterable[bytes] = ()) -> bytes:
    """Write a message. Raises ValueError for NaN and infinity in its JSON."""
    data = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(data)), data, *samples])


def framed(message: Mapping[str, Any], samples: Iterable[bytes] = ()) -> bytes:
    """Write a message with its length before it, so that other messages may follow."""
    data = dumped({"version": VERSION, **message}, samples)
    return _LENGTH.pack(len(data)) + data


def loaded(data: bytes | bytearray) -> tuple[dict[str, Any], Samples]:
    """Read what `dumped` wrote. Raises Malformed."""
    try:
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        text = data[_LENGTH.size : end]
        if len(text) > _USUAL_BYTES and sum(map(text.count, _SIGNS)) > _MOST_SIGNS:
            raise Malformed("it has too many parts")
        found = json.loads(text, parse_constant=_refuse)
    except Malformed:
        raise
    except (ValueError, RecursionError, struct.error):
        raise OtherVersion("it is no JSON") from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise OtherVersion("it is of another version")
    return found, Samples(memoryview(data)[end:])


def messages(data: bytes) -> Iterator[tuple[dict[str, Any], Samples]]:
    """Read messages that `framed` wrote, one after the other. Raises Malformed.

    All but the first may be cut off.
    """
    start, end = 0, len(data)
    while start < len(data) or not start:
        size = len(data[start : start + _LENGTH.size])
        if size == _LENGTH.size:
            end = start + size + _LENGTH.unpack_from(data, start)[0]
        if start and (size < _LENGTH.size or end > len(data)):
            return
        yield loaded(data[start + size : end])
        start = end


def _refuse(_constant: str) -> NoReturn:
    raise Malformed("something is no number")
