"""Workers without descriptors: they answer on the lines that are open, and no count decreases."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from metertap.workers import members
from metertap.workers.members import SOCKET, Files
from support.members import SERVICE, Member, another
from support.waiting import wait_for


def counted(member: Member) -> list[int]:
    """Calls of all workers that this one knows, and how many of them have ended."""
    found: list[int] = member.does("counted")
    return found


def test_a_worker_that_can_accept_nothing_waits_until_it_can() -> None:
    with ExitStack() as stack:
        holder, other = another(stack, calls=1), another(stack, calls=7)
        wait_for(lambda: counted(holder) == [8, 0])
        other.does("exhaust")
        path = Files(SERVICE).name(members.member(other.process.pid), SOCKET)
        line = stack.enter_context(socket.socket(socket.AF_UNIX))
        line.connect(path)
        before = other.does("spent")
        time.sleep(1)
        assert other.does("spent") - before < 0.5
        other.does("call 1")
        wait_for(lambda: counted(holder) == [9, 0])
        other.does("free")
        line.settimeout(60)
        line.sendall(b"\xff\xff\xff\xff")  # no question: the line is closed
        assert line.recv(1) == b""


def test_what_the_holder_cannot_read_is_counted_once_it_can() -> None:
    with ExitStack() as stack:
        holder, other = another(stack, calls=1), another(stack, calls=7)
        wait_for(lambda: counted(holder) == [8, 0])
        wait_for(other.has_written)
        holder.does("exhaust")
        other.does("call 1")
        wait_for(lambda: counted(holder) == [9, 0])
        other.kill()
        for _ in range(3):
            assert counted(holder) == [9, 0]
        holder.does("free")
        assert wait_for(lambda: holder.does("counted")) in ([9, 0], [9, 1])
        wait_for(lambda: counted(holder) == [9, 1])


def test_what_an_exhausted_worker_cannot_read_is_no_less_to_whoever_asks_it() -> None:
    with ExitStack() as stack:
        holder, other, ended = (another(stack, calls=calls) for calls in (1, 7, 20))
        wait_for(ended.has_written)
        ended.kill()
        wait_for(lambda: counted(holder) == [28, 1])
        wait_for(lambda: counted(other) == [28, 1])
        other.does("exhaust")
        holder.does("call 1")
        for _ in range(3):
            assert counted(other) in ([28, 1], [29, 1])
        other.does("free")
        wait_for(lambda: counted(other) == [29, 1])
