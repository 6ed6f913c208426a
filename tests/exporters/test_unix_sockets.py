"""Endpoints at Unix sockets: whose they are, and when they come and go."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import metertap
from metertap.settings.secret import Secret
from metertap.settings.table import AUTO
from metertap_exporters.http import connections, unix_socket
from metertap_exporters.http.access import Access
from metertap_exporters.http.server import POLL_SECONDS
from support.endpoints import TOKEN, endpoint
from support.programs import run
from support.serving import read
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.programs


def over(path: Path, request: bytes = b"GET /fine HTTP/1.1\r\nHost: localhost\r\n\r\n") -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(request)
        return read(client)


@pytest.mark.parametrize("umask", [0, 0o777])
def test_a_socket_is_its_users_own_and_goes_with_the_endpoint(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "private" / "json.sock"
    before = os.umask(umask)
    try:
        with endpoint(path=path) as made:
            assert made.url == f"unix:{path}"
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert b'{"fine":true}' in over(path)
            assert b" 403 " in over(path, b"GET /fine HTTP/1.1\r\nHost: example.org\r\n\r\n")
            assert b" 405 " in over(path, b"POST /fine HTTP/1.1\r\nHost: localhost\r\n\r\n")
    finally:
        os.umask(before)
    assert not path.exists()


def test_a_socket_that_is_removed_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "private" / "json.sock"
    with endpoint(path=path):
        path.unlink()
        wait_for(path.exists)
        assert b'{"fine":true}' in over(path)
        path.unlink()
        path.parent.rmdir()  # as old temporary files are
        wait_for(path.exists)
        assert b'{"fine":true}' in over(path)
        path.unlink()
        path.write_text("of somebody else")
        time.sleep(2 * POLL_SECONDS)
    assert path.read_text() == "of somebody else"


def test_a_token_is_asked_for_at_a_socket_too(tmp_path: Path) -> None:
    path = tmp_path / "json.sock"
    with endpoint(Access(token=Secret(TOKEN)), path=path):
        assert b" 401 " in over(path)
        shown = f"GET /fine HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        assert b" 200 " in over(path, shown.encode())


def test_the_socket_of_a_killed_process_is_replaced_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "json.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with endpoint(path=path) as first, endpoint(path=path) as second:
        assert first.url is not None
        assert second.url is None
        assert "in use" in str(second.problem)
        assert b'{"fine":true}' in over(path)


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_no_socket_stays(there: str, tmp_path: Path) -> None:
    path, other = tmp_path / "json.sock", tmp_path / "other"
    other.write_text("kept")
    if there == "folder":
        path.mkdir()
    elif there == "link":
        path.symlink_to(other)
    else:
        path.write_text("kept")
    with endpoint(path=path) as made:
        assert made.url is None
    assert path.is_dir() or path.read_text() == "kept"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_folder_that_others_may_write_to_is_refused(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    with endpoint(path=folder / "json.sock") as made:
        assert made.url is None
        assert "others may write" in str(made.problem)
    assert list(folder.iterdir()) == []


def test_a_path_that_is_too_long_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with endpoint(path=tmp_path / ("x" * 120)) as made:
        assert made.url is None
    assert len(warnings_of(caplog)) == 1


def test_another_socket_in_its_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "json.sock"
    with endpoint(path=path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.exists()


def test_a_flood_at_a_socket_shuts_nobody_out(tmp_path: Path) -> None:
    """Clients that say nothing fill the places, and the queue has others, and some that left."""
    path = tmp_path / "json.sock"
    with endpoint(path=path), contextlib.ExitStack() as clients:
        for number in range(connections.LIMIT + 200):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(60)  # with a timeout, a full queue refuses it
            client.connect(str(path))
            if number % 2 and number > connections.LIMIT:
                client.close()
        assert b'{"fine":true}' in over(path)


@pytest.fixture
def short_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A runtime folder in which sockets fit: their paths have 107 bytes at most."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield


@pytest.mark.usefixtures("short_runtime_folder")
def test_auto_is_a_socket_of_the_process_in_the_runtime_folder() -> None:
    with metertap.instrument(json_socket="auto", prometheus=True, prometheus_socket="auto") as tap:
        metertap.record_tool_call("search", True, 1.0)
        for label, wanted in (("json", b'"search"'), ("prometheus", b"search")):
            url = wait_for(lambda: getattr(tap, f"{label}_url"))  # noqa: B023
            path = unix_socket.place(AUTO, label)
            assert url == f"unix:{path}"
            assert path.parent == Path(os.environ["XDG_RUNTIME_DIR"]) / "metertap"
            assert wanted in over(path, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert not path.exists()


FORKED = """
import os, sys, time, metertap
tap = metertap.instrument(json_socket="auto", announce=False)
metertap.record_tool_call("search", True, 1.0)
while tap.json_url is None: time.sleep(0.01)
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
metertap.record_tool_call("search", True, 1.0)
for _ in range(6000):
    if tap.json_url: break
    time.sleep(0.01)
print(tap.json_url == f"unix:{os.environ['XDG_RUNTIME_DIR']}/metertap/{os.getpid()}-json.sock")
sys.stdout.flush(); os._exit(0)
"""


@pytest.mark.usefixtures("short_runtime_folder")
def test_a_forked_child_has_a_socket_of_its_own() -> None:
    done = run(sys.executable, "-c", FORKED)
    assert (done.status, done.stdout, done.told) == (0, b"True\n", "")
