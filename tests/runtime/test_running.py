"""Where running processes are listed: a directory of the user's own, without the dead."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import metertap
from metertap.runtime import leaving, running
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="owners and modes are POSIX's")


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's runtime directory."""
    base = tmp_path / "base"
    base.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    return base


def dead_pid() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def write(pid: int, started: float | None = None, **more: object) -> Path:
    started = time.time() if started is None else started
    path = running.directory() / f"{pid}.json"
    entry = {"pid": pid, "service": f"service {pid}", "started": started, **more}
    path.write_text(json.dumps({**entry, "json_url": "http://127.0.0.1:1", "prometheus_url": None}))
    return path


@pytest.mark.parametrize("umask", [0, 0o777])
def test_it_is_private_whatever_the_umask(base: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = running.directory()
        entry = running.register("shop", None, None)
    finally:
        os.umask(before)
    assert path == base / "metertap"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    entry.unlink()


def test_an_entry_that_is_removed_is_there_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "_LOOK_SECONDS", 0.05)
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", "*")
    with metertap.instrument(service_name="shop") as tap:
        metertap.tool(lambda: None)()
        wait_for(lambda: tap.json_url and running.running())
        shutil.rmtree(base / "metertap")
        (process,) = wait_for(running.running)
        assert (process.pid, process.json_url) == (os.getpid(), tap.json_url)
    assert running.running() == []


def test_one_that_others_could_read_is_made_private(base: Path) -> None:
    (base / "metertap").mkdir(mode=0o755)
    assert stat.S_IMODE(running.directory().stat().st_mode) == 0o700


def test_without_a_runtime_directory_it_is_in_the_temporary_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for missing in ("", str(tmp_path / "nowhere")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", missing)
        assert running.directory() == tmp_path / f"metertap-{os.getuid()}"


def test_another_users_runtime_directory_is_left_alone(
    base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.getuid() == 0:
        os.chown(base, 12345, 12345)
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert running.directory() == tmp_path / f"metertap-{os.getuid()}"
    assert list(base.iterdir()) == []


def test_a_link_that_somebody_put_there_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (base / "metertap").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="is not this user's directory"):
        running.register("shop", None, None)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_in_its_place_is_refused(base: Path) -> None:
    (base / "metertap").write_text("")
    with pytest.raises(PermissionError, match="is not this user's directory"):
        running.directory()


def test_another_users_directory_is_refused(base: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make another user's directory")
    (base / "metertap").mkdir()
    os.chown(base / "metertap", 12345, 12345)
    with pytest.raises(PermissionError, match="is not this user's directory"):
        running.directory()


def test_where_nothing_can_be_listed_the_program_runs_on_with_one_warning(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (base / "metertap").write_text("")
    with metertap.instrument(prometheus=True) as tap:
        metertap.record_tool_call("search", True, 1.0)
        wait_for(lambda: tap.json_url and tap.prometheus_url and warnings_of(caplog))
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
    (warning,) = warnings_of(caplog)
    assert "is not this user's directory" in warning


def test_a_process_is_listed_with_its_endpoints_until_it_shuts_down() -> None:
    with metertap.instrument(prometheus=True, service_name="shop") as tap:
        assert running.running() == []
        metertap.cache_meter("any")
        (listed,) = wait_for(
            lambda: [item for item in running.running() if item.json_url and item.prometheus_url]
        )
        assert (listed.pid, listed.service) == (os.getpid(), "shop")
        assert (listed.json_url, listed.prometheus_url) == (tap.json_url, tap.prometheus_url)
    assert running.running() == []
    assert list(running.directory().iterdir()) == []


def test_a_process_that_never_listened_leaves_no_file(base: Path) -> None:
    with metertap.instrument():
        assert len(running.unserved()) == 1
    assert [path for path in base.rglob("*") if path.is_file()] == []


def test_to_look_for_processes_makes_no_directory(base: Path) -> None:
    assert (running.running(), running.problem()) == ([], None)
    assert list(base.iterdir()) == []


def test_where_nothing_can_be_listed_nobody_is_found(base: Path) -> None:
    (base / "metertap").write_text("")
    assert running.running() == []
    assert running.problem() == f"{base / 'metertap'} is not this user's directory"


def test_files_of_the_dead_are_removed_and_the_living_are_sorted_by_age() -> None:
    dead = write(dead_pid())
    write(os.getpid(), started=time.time() + 2.0)
    write(os.getppid(), started=time.time() + 1.0)
    assert [item.pid for item in running.running()] == [os.getppid(), os.getpid()]
    assert not dead.exists()


def unfinished(name: object, age: float) -> Path:
    """A file that its process has written and not put in its place."""
    path = running.directory() / f"{name}.new"
    path.write_text("{")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_the_dead_did_not_finish_is_removed() -> None:
    dead = dead_pid()
    gone = [unfinished(dead, 120.0)]
    # One of the living, and two that are nobody's.
    stays = [unfinished(os.getpid(), 120.0), unfinished("notes", 120.0), unfinished(10**30, 120.0)]
    write(os.getpid())
    assert [item.pid for item in running.running()] == [os.getpid()]
    assert [path.exists() for path in gone + stays] == [False, True, True, True]
    young = unfinished(dead, 10.0)
    assert [item.pid for item in running.running()] == [os.getpid()]
    assert young.exists()


HUGE = '{"pid": 1e30, "service": "", "started": 0, "json_url": null, "prometheus_url": null}'


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}', HUGE])
def test_a_file_that_says_nothing_is_passed_over(text: str) -> None:
    (running.directory() / "1.json").write_text(text)
    write(os.getpid())
    assert [item.pid for item in running.running()] == [os.getpid()]


def test_a_listing_holds_no_command_line() -> None:
    running.register("shop", "http://127.0.0.1:1", None)
    (file,) = running.directory().iterdir()
    assert set(json.loads(file.read_text())) == {
        "pid",
        "process_start",
        "namespace",
        "service",
        "instance_id",
        "started",
        "json_url",
        "prometheus_url",
        "problem",
    }


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says when it started")
def test_a_file_of_a_process_whose_id_another_has_now_is_removed() -> None:
    running.register("shop", "http://127.0.0.1:1", None)
    (noted,) = running.directory().iterdir()
    entry = json.loads(noted.read_text())
    noted.write_text(json.dumps({**entry, "process_start": entry["process_start"] - 1}))
    assert running.running() == []
    assert not noted.exists()
    older = write(os.getpid(), started=time.time() - 86_400 * 365)  # of before that was noted
    assert running.running() == []
    assert not older.exists()


def test_a_process_that_could_not_bind_its_port_is_listed_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with metertap.instrument(json_port=port, service_name="shop"):
            metertap.cache_meter("any")
            listed = wait_for(lambda: _listed_with(f"127.0.0.1:{port} cannot be bound"))
    assert (listed.pid, listed.service, listed.json_url) == (os.getpid(), "shop", None)


def _listed_with(problem: str) -> running.Running | None:
    """The process, once it is listed with a problem that begins so."""
    listed = (item for item in running.running() if (item.problem or "").startswith(problem))
    return next(listed, None)


def test_what_a_process_registers_is_what_its_documents_say() -> None:
    with metertap.instrument(service_name="shop") as tap:
        metertap.cache_meter("any")
        (listed,) = wait_for(running.running)
        assert listed.instance_id == tap.snapshot()["service"]["instance_id"]


def test_nothing_is_removed_behind_a_link_that_somebody_put_there(
    base: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    kept = elsewhere / f"{os.getpid()}.json"
    kept.write_text("{}")
    (base / "metertap").symlink_to(elsewhere)
    running.unregister()
    assert running.running() == []
    assert kept.exists()


def test_a_link_in_the_place_of_a_file_is_neither_read_nor_written_through(
    base: Path, tmp_path: Path
) -> None:
    target = write(os.getpid()).rename(tmp_path / "target")
    before = target.read_text()
    folder = running.directory()
    for name in (f"{os.getpid()}.json", f"{os.getpid()}.new"):
        (folder / name).symlink_to(target)
    assert running.running() == []
    running.register("shop", "http://127.0.0.1:1", None)
    assert target.read_text() == before
    assert [item.service for item in running.running()] == ["shop"]


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up() -> None:
    os.mkfifo(running.directory() / "1.json")
    write(os.getpid())
    assert [item.pid for item in running.running()] == [os.getpid()]
