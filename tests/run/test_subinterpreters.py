"""Subinterpreters beside metertap: never a crash, and a process ends as it would."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from servers.otlp_receiver import receiver
from support.endings import to
from support.programs import METERTAP, run

pytestmark = [pytest.mark.interpreter, pytest.mark.programs]

PRELUDE = """
import sys, threading, time
import metertap
tap = {tap}

@metertap.tool
def search():
    pass

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
text = "import sys; sys.path[:] = " + repr(sys.path) + "\\n"

def create():
    if sys.version_info >= (3, 13):
        return interpreters.create("legacy")
    return interpreters.create(isolated=False)

def run(other, code):
    error = getattr(interpreters, "exec", interpreters.run_string)(other, text + code)
    assert not error, error

for _ in range(10):
    search()
"""
MEASURES = (
    "import metertap; tap = metertap.instrument(); print(tap)\n"
    "metertap.record_tool_call('other', True, 1.0); tap.flush(); tap.shutdown()"
)
IMPORTS_AND_STAYS = "import metertap; tap = metertap.instrument(); print(tap)"
OFF = b"<metertap.Tap shop off: nothing is measured in a subinterpreter>\n"
BESIDE = {
    "runs": ("other = create(); run(other, 'import json'); interpreters.destroy(other)", b""),
    "stays": ("other = create(); run(other, 'import json, threading')", b""),
    "runs at the end": (
        "thread = threading.Thread(target=run, args=(create(), 'import time; time.sleep(0.5)'))\n"
        "thread.start(); time.sleep(0.1)",
        b"",
    ),
    "isolated": ("other = interpreters.create(); run(other, 'import json')", b""),
    "works meanwhile": (
        "other = interpreters.create()\n"
        "code = 'import time, functools\\nfor _ in range(20): time.sleep(0.01)'\n"
        "thread = threading.Thread(target=run, args=(other, code)); thread.start()\n"
        "while thread.is_alive(): metertap.cache_meter('prices').hit()",
        b"",
    ),
    "measures": (f"other = create(); run(other, {MEASURES!r}); interpreters.destroy(other)", OFF),
    "measures and stays": (f"run(create(), {MEASURES!r})", OFF),
}


@pytest.mark.parametrize("measured", ["instrument", "run"])
@pytest.mark.parametrize("what", BESIDE)
def test_a_subinterpreter_beside_a_program_that_is_measured(
    what: str, measured: str, tmp_path: Path
) -> None:
    code, printed = BESIDE[what]
    tap = "metertap.instrument()" if measured == "instrument" else None
    before = [] if measured == "instrument" else [METERTAP, "run", "--children", "--"]
    (tmp_path / "shop.py").write_text(PRELUDE.format(tap=tap) + code + "\nsys.exit(3)\n")
    with receiver() as collector:
        found = run(*before, sys.executable, str(tmp_path / "shop.py"), env=to(collector))
    assert (found.status, found.stdout) == (3, printed), found.told
    told = "metertap: nothing is measured in a subinterpreter\n" if printed else ""
    assert found.told == told
    assert sum(collector.calls_by_process().values()) == 10


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "shared"])
def test_a_program_that_measures_in_a_subinterpreter_alone_ends_as_it_would(
    isolated: bool, tmp_path: Path
) -> None:
    make = "interpreters.create()" if isolated else "create()"
    code = PRELUDE.replace("{tap}", "None").replace("@metertap.tool", "")
    code = code.replace("import metertap\n", "")
    (tmp_path / "shop.py").write_text(f"{code}\nrun({make}, {IMPORTS_AND_STAYS!r})\nsys.exit(3)")
    with receiver() as collector:
        found = run(sys.executable, str(tmp_path / "shop.py"), env=to(collector))
    assert found.status == 3, found.told
    # Python 3.12 isolates so that some of what metertap needs cannot be imported there.
    assert found.stdout == OFF or (isolated and b"metertap.unavailable" in found.stdout)
