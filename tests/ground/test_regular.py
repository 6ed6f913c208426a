"""Only regular files are opened, without waiting, and nothing stays open of what was refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from metertap import regular


def test_the_bytes_of_a_regular_file_are_read(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"text\r\n")
    with regular.opened(place) as file:
        assert file.read() == b"text\r\n"


def _bind(place: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)


@pytest.mark.parametrize("flags", [0, os.O_NOFOLLOW])
@pytest.mark.parametrize(
    "put",
    [
        os.mkdir,
        os.mkfifo,
        lambda place: os.symlink(os.devnull, place),
        lambda place: os.symlink(os.path.dirname(place), place),
        _bind,
        lambda place: None,
    ],
    ids=["folder", "pipe", "device", "link", "socket", "nothing"],
)
def test_what_is_none_is_refused_and_leaves_no_descriptor_open(
    tmp_path: Path, put: Callable[[str], object], flags: int
) -> None:
    place = str(tmp_path / "x")
    put(place)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=r"."):
        regular.opened(place, flags)
    assert os.listdir("/proc/self/fd") == before
