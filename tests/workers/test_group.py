"""Workers of one service find each other, and one takes the port when the holder leaves it."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from metertap.recording import Recorder
from metertap.workers.group import WorkerGroup
from metertap.workers.holder import REACHED
from metertap.workers.holding import Hold
from metertap.workers.ledger import Ledger
from metertap.workers.members import Files
from metertap.workers.sections import FIGURES
from support.members import SERVICE, Member, another, calls
from support.waiting import wait_for

pytestmark = pytest.mark.programs


def test_one_holds_the_port_and_sees_the_others(group: WorkerGroup, stack: ExitStack) -> None:
    assert group.gathered(FIGURES) is None  # alone
    other = another(stack, calls=7)
    assert other.does("join") is False
    gathered = group.gathered(FIGURES)
    assert calls(gathered) == 12
    assert gathered is not None
    assert [item.state for item in gathered.workers] == ["holds the port", REACHED]
    other.does("call 3")
    assert calls(group.gathered(FIGURES)) == 15
    assert other.does("counted") == [15, 0]  # whoever is asked sees all
    folder = Path(Files(SERVICE).folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_port_passes_on_with_all_counts(group: WorkerGroup, stack: ExitStack) -> None:
    first, second = another(stack, calls=7), another(stack, calls=11)
    assert calls(group.gathered(FIGURES)) == 23
    group.end()
    now, other = (
        (first, second) if wait_for(lambda: _holds(first, second)) is first else (second, first)
    )
    assert now.does("counted") == [23, 0]  # of the one that left, what it wrote
    now.kill()
    assert other.does("holds 10") is True
    assert wait_for(lambda: other.does("counted")) == [23, 1]


def test_the_port_of_the_service_is_known_to_who_takes_it_over_and_to_nobody_later(
    group: WorkerGroup, stack: ExitStack
) -> None:
    assert group.kept_port("json") is None
    group.keep_port("json", 9110)
    group.keep_port("prometheus", 9111)
    other = another(stack)
    assert other.does("port") is None  # it holds none
    group.end()
    assert other.does("holds 60") is True
    assert other.does("port") == [9110, True]  # this process is about to leave it
    other.kill()
    later = another(stack)  # the service begins again
    assert later.does("join") is True
    assert later.does("port") is None


@pytest.mark.parametrize("noted", ["", "{", "[1]", '{"json": "1"}', '{"json": 70000}'])
def test_a_port_that_cannot_be_one_is_not_believed(noted: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(noted)
    hold = Hold(str(path))
    assert hold.take()
    group = WorkerGroup(SERVICE, Ledger(Recorder(), []), str, lambda: None)
    group._ports = hold.noted()
    assert group.kept_port("json") is None
    hold.free()


def _holds(*found: Member) -> Member | None:
    return next((one for one in found if one.does("holds 0")), None)


def test_who_has_left_takes_no_port_any_more(group: WorkerGroup) -> None:
    group.end()  # as a thread of this process was about to take the place of another worker
    assert not group.join()
    group.forked()  # a child begins anew
    assert group.join()


def test_a_forked_child_takes_no_part_until_it_joins(group: WorkerGroup) -> None:
    pid = os.fork()
    if not pid:
        try:
            group.forked()
            code = 0 if not group.has_joined and not group.join() else 1
            group.end()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert group.join()  # it still holds the port
