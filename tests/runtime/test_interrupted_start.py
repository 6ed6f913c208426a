"""An interrupt, or a time limit of the program's, while a first record starts what counts.

That takes as long as imports do: as long as a first cell of a notebook lasts before ^C, or longer
than a job's limit on a busy machine. The next record begins anew, and nothing is lost but the call
that was cut off.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]

PROGRAM = """
import os, sys, time, urllib.request
import metertap

tap = metertap.instrument(json_port=0, prometheus=True, prometheus_port=0, announce=False)

class Late(BaseException):
    pass

@metertap.tool
def search():
    pass

def interrupt(frame, event, _arg):
    code = frame.f_code
    if event == "call" and code.co_name == {name!r} and "metertap" in code.co_filename:
        sys.setprofile(None)
        raise Late

def main():
    sys.setprofile(interrupt)
    try:
        search()
    except Late:
        pass
    else:
        sys.exit("nothing was interrupted")
    for _ in range(9):
        search()
    count = tap.snapshot()["tool_metrics"]["search"]["total_calls"]
    until = time.monotonic() + 60
    while tap.prometheus_url is None and time.monotonic() < until:
        time.sleep(0.01)
    told = urllib.request.urlopen(tap.prometheus_url.rstrip("/") + "/metrics").read().decode()
    name = "gen_ai_execute_tool_duration_seconds_count"
    told = [line for line in told.splitlines() if line.startswith(name)]
    shown = sum(float(line.split()[-1]) for line in told)
    if not (count in (9, 10) and shown == count):
        sys.exit(f"{{count}} counted, {{shown}} shown to Prometheus")

{how}
"""
FORKED = """
search()
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
main()
"""


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("main()", "_new_pipeline"),
        ("main()", "_make_own"),
        ("main()", "equip"),
        ("main()", "_take_over"),
        ("main()", "woken"),
        (FORKED, "_make_own"),
        (FORKED, "equip"),
        (FORKED, "replay"),
        (FORKED, "woken"),
    ],
)
def test_the_next_record_begins_anew(how: str, name: str) -> None:
    code = PROGRAM.format(name=name, how=how)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
