"""Programs that a measured program starts."""

from __future__ import annotations

import sys

from servers.otlp_receiver import receiver
from support.programs import METERTAP, PROGRAMS, RUN, run

FAMILY = (sys.executable, str(PROGRAMS / "family.py"))
SAID = """\
{0}
{0}
fork 1
0
spawn 1
0
terminated -15
['parent']
"""


def test_children_are_not_measured_and_work() -> None:
    measured = run(*RUN, *FAMILY)
    assert measured.stdout.decode() == SAID.format(False)
    assert measured.stderr == b""


def test_children_are_measured_when_asked() -> None:
    measured = run(METERTAP, "run", "--children", "--", *FAMILY)
    assert measured.stdout.decode() == SAID.format(True)


def test_children_deliver_what_they_measured_when_they_end() -> None:
    with receiver() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        measured = run(METERTAP, "run", "--children", "--", *FAMILY, env=env)
    assert measured.stdout.decode() == SAID.format(True)
    assert collector.tool_calls() == {("parent", "ok"): 1, ("child", "ok"): 1}
