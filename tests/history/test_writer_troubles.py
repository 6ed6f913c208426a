"""A process writes its history, whatever happens to the file and the folder."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import metertap
from metertap.history import writer
from metertap.history.file_answers import FileAnswers
from metertap.recording import Recorder
from support.programs import NO_LIBRARIES, run
from support.unprivileged import unprivileged
from support.warned import warnings_of
from support.written_history import SERVER, kept


def test_a_full_disk_is_one_warning_and_nothing_is_lost_once_there_is_room(path: Path) -> None:
    program = """
import json, resource
size = 48 * 1024
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
calls = waiting = 0
while waiting < 3:
    calls += 1
    metertap.record_tool_call(f"{'tool' * 100} {calls}", True, 1.0)
    metertap.record_tool_call("search", True, 1.0)
    tap.flush(60_000)
    report = tap.diagnosis()["history"]
    waiting = report["waiting_intervals"]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
tap.flush(60_000)
print(json.dumps([calls, report, tap.diagnosis()["history"]]))
"""
    env = {**NO_LIBRARIES, "METERTAP_HISTORY": str(path), "OTEL_SERVICE_NAME": "shop"}
    done = run(sys.executable, "-c", SERVER + program, env=env)
    calls, full, now = json.loads(done.stdout.splitlines()[-1])
    assert full["problem"].startswith(str(path))
    assert (now["problem"], now["waiting_intervals"]) == (None, 0)
    assert done.told.count("history cannot be written") == 1
    assert sum(kept(path)["search shop"].outcomes.values()) == 10 + calls


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_file_is_one_warning_and_the_program_goes_on(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    with metertap.instrument(history=path, json_port=0) as tap:
        for _ in range(3):
            metertap.record_tool_call("search", True, 1.0)
            tap.flush(60_000)
        report = tap.diagnosis()["history"]
        assert "database" in report["problem"]
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 3
    assert len([text for text in warnings_of(caplog) if "history cannot be written" in text]) == 1
    assert path.read_bytes() == content


def test_a_file_that_is_deleted_or_replaced_is_made_anew(path: Path, tmp_path: Path) -> None:
    with metertap.instrument(history=path, json_port=0) as tap:
        for end in (path.unlink, lambda: (tmp_path / "other").replace(path)):
            metertap.record_tool_call("search", True, 1.0)
            tap.flush(60_000)
            assert kept(path)
            (tmp_path / "other").touch()
            end()
            metertap.record_tool_call("price", True, 1.0)
            tap.flush(60_000)
            assert [name.split()[0] for name in kept(path)] == ["price"]


def test_a_folder_that_is_not_there_is_named_and_written_to_once_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "missing" / "history.db"
    with metertap.instrument(history=path, service_name="shop", json_port=0) as tap:
        metertap.record_tool_call("search", True, 1.0)
        tap.flush(60_000)
        (told,) = warnings_of(caplog)
        assert told == (
            f"history cannot be written ({path}: there is no folder {path.parent}); what is "
            "measured waits in memory, and it is tried again every 10 s and when the process ends"
        )
        path.parent.mkdir()
    assert sum(kept(path)["search shop"].outcomes.values()) == 1


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(0o500)
    program = SERVER + "tap.flush(60_000); print(tap.diagnosis()['history']['problem'])"
    command = unprivileged(sys.executable, "-c", program)
    done = run(*command, env={**NO_LIBRARIES, "METERTAP_HISTORY": str(folder / "history.db")})
    assert done.status == 0
    assert b"ermission denied" in done.stdout
    assert done.told.count("history cannot be written") == 1


def test_a_copy_in_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "closed" / "history.db"
    path.parent.mkdir()
    with metertap.instrument(history=path, service_name="shop", json_port=0):
        metertap.record_tool_call("search", True, 1.0)
    path.parent.chmod(0o500)
    command = (sys.executable, "-m", "metertap", "trends", "--history", str(path))
    done = run(*unprivileged(*command))
    path.parent.chmod(0o700)
    assert b"search" in done.stdout, done.told


def test_a_clock_that_is_set_back_takes_nothing_away(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    with metertap.instrument(history=path, service_name="shop", json_port=0) as tap:
        metertap.record_tool_call("search", True, 1.0)
        monkeypatch.setattr(writer, "_now", lambda: now[0])
        for by in (0, 7200, -3600, -7200, 10):
            now[0] += by
            metertap.record_tool_call("search", True, 1.0)
            tap.flush(60_000)
    starts: Counter[float] = Counter()
    with closing(FileAnswers(path)) as answers:
        for each in answers.slices(since=now[0] - 1e5, until=now[0] + 1e5, step=10):
            starts[each.start] += each.calls
    assert sum(starts.values()) == 6
    assert len(starts) > 2


def test_intervals_that_wait_are_joined_and_none_is_dropped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MOST_KEPT", 5)
    path.mkdir()  # no file
    with metertap.instrument(history=path, service_name="shop", json_port=0) as tap:
        for _ in range(40):
            metertap.record_tool_call("search", True, 1.0)
            tap.flush(60_000)
        assert 1 <= tap.diagnosis()["history"]["waiting_intervals"] <= 6
        path.rmdir()
    assert kept(path)["search shop"].outcomes == {"ok": 40}


def test_an_interval_that_waits_alone_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_MOST_KEPT", 0)
    with metertap.instrument(history=path, service_name="shop", json_port=0) as tap:
        metertap.record_tool_call("search", True, 1.0)
        tap.flush(60_000)
    assert kept(path)["search shop"].outcomes == {"ok": 1}


def test_what_takes_long_is_told_while_it_does(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_SLOW_SECONDS", -1.0)
    alone = writer.HistoryWriter(path, 1_000_000, Recorder(), dict)
    told = [alone.described()["problem"]]
    alone._busily(lambda: told.append(alone.described()["problem"]))
    told.append(alone.described()["problem"])
    assert told == [None, "it has been opened, read or written for 0 s", None]


def test_a_file_that_cannot_be_opened_is_told_at_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    alone = writer.HistoryWriter(path, 1_000_000, Recorder(), dict)
    alone._look_at_file()
    assert "regular file" in alone.described()["problem"]
    assert len(warnings_of(caplog)) == 1
