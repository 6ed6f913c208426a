"""`metertap run` imports next to nothing until the program has something that can be measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from metertap.run import start
from metertap.runtime import opening
from metertap_instrumentation.libraries import LIBRARIES, MEASURED_BY_OTHERS
from support.programs import RUN, ended, run, started

pytestmark = pytest.mark.programs

HEAVY = ("metertap.state", "opentelemetry", "wrapt", "typing", "asyncio", "logging")
LOADED = f"import sys; print([name for name in {HEAVY} if name in sys.modules])\n"


def measured(program: str, *arguments: str, cwd: Path, **env: str) -> str:
    (cwd / "program.py").write_text(program)
    done = run(*RUN, sys.executable, *arguments, "program.py", env=env, cwd=cwd)
    assert (done.status, done.told) == (0, ""), done.told
    return done.stdout.decode()


def test_the_packages_that_end_the_waiting_are_those_that_are_measured_or_supervise() -> None:
    libraries = {library.package for library in (*LIBRARIES.values(), *MEASURED_BY_OTHERS)}
    supervisors = {module.partition(".")[0] for module in opening._SUPERVISORS}
    ours = {"metertap_exporters", "metertap_instrumentation"}
    assert (libraries - {"functools"}) | supervisors | ours == start.PACKAGES


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"METRICS_JSON_PORT": "0", "METRICS_WINDOW_SIZE": "50", "OTEL_SERVICE_NAME": "shop"},
        {"METERTAP_RUN_CHILDREN": "true"},
    ],
)
def test_a_program_with_nothing_to_measure_imports_nothing(
    env: dict[str, str], tmp_path: Path
) -> None:
    assert measured(LOADED, cwd=tmp_path, **env) == "[]\n"


def test_a_command_with_flags_waits_too(tmp_path: Path) -> None:
    assert measured(LOADED, "-u", "-X", "utf8", "-Wignore", cwd=tmp_path) == "[]\n"


IS_ON = "from metertap.runtime.tap import active_tap\nprint(active_tap().is_active)\n"


@pytest.mark.parametrize(
    "ends",
    [
        "import cachetools",
        "import metertap; metertap.tool",
        "import functools; functools.lru_cache(lambda: 1)",
        "import functools; functools.lru_cache(maxsize=None)(lambda: 1)",
        "from functools import cache; cache(lambda: 1)",
        "import opentelemetry.sdk.metrics",
    ],
)
def test_what_can_be_measured_ends_the_waiting(ends: str, tmp_path: Path) -> None:
    on = "import sys\nprint('metertap.runtime.tap' in sys.modules)\n"
    assert measured(f"{on}{ends}\n{on}{IS_ON}", cwd=tmp_path) == "False\nTrue\nTrue\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "[tool.metertap]\nwindow_size = 7\n"),
        ("pyproject.toml", "[tool]\nmetertap = { window_size = 7 }\n"),
        ("statistics.py", ""),
        ("wrapt.py", ""),
    ],
)
def test_a_file_beside_the_program_that_concerns_metertap_is_no_time_to_wait(
    file: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    assert "metertap.state" in measured(LOADED, cwd=tmp_path)


def test_a_file_that_no_import_takes_for_a_module_is_no_reason_not_to_wait(tmp_path: Path) -> None:
    for name in ("calendar.json", "logging.yaml"):
        (tmp_path / name).write_text("")
    assert measured(LOADED, cwd=tmp_path) == "[]\n"


LATE = (
    "metertap.recording.cache_series",
    "metertap.recording.figures",
    "metertap.recording.tool_series",
    "metertap_instrumentation.caches.discovery",
    "opentelemetry.metrics",
)


def test_a_library_imports_nothing_for_caches_and_views_but_the_first_cache_is_seen(
    tmp_path: Path,
) -> None:
    """`watchfiles` is a library here that measures nothing by itself."""
    (tmp_path / "watchfiles.py").write_text("")
    program = f"""
import functools, sys, watchfiles
late = {LATE}
print("metertap.runtime.tap" in sys.modules, *sorted(sys.modules.keys() & set(late)))
@functools.lru_cache
def prices(item): return item
prices(1), prices(1)
print(functools.lru_cache.__module__, "metertap_instrumentation.caches.discovery" in sys.modules)
import metertap
print(metertap.get_all_metrics()["cache_metrics"]["__main__.prices"]["hits"])
"""
    assert measured(program, cwd=tmp_path) == "True\nfunctools True\n1\n"


def test_caches_are_seen_without_a_first_one_once_somebody_looks(tmp_path: Path) -> None:
    (tmp_path / "watchfiles.py").write_text("")
    program = """
import functools, watchfiles
from metertap.run import start
start._is_programs = lambda frame: False  # as for the cache of an installed program
import metertap
@functools.lru_cache
def prices(item): return item
prices(1), prices(1)
print(metertap.get_all_metrics()["cache_metrics"]["__main__.prices"]["hits"])
prices(1)
print(metertap.get_all_metrics()["cache_metrics"]["__main__.prices"]["hits"])
"""
    assert measured(program, cwd=tmp_path) == "1\n2\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_child_counts_what_it_looked_up_itself_where_nobody_has_looked(
    tmp_path: Path,
) -> None:
    (tmp_path / "watchfiles.py").write_text("")
    program = """
import functools, os, watchfiles
from metertap.run import start
start._is_programs = lambda frame: False  # as for the cache of an installed program
@functools.lru_cache
def prices(item): return item
prices(1), prices(1), prices(1)
pid = os.fork()
if not pid:
    prices(1)
else:
    os.waitpid(pid, 0)
import metertap
print(metertap.get_all_metrics()["cache_metrics"]["__main__.prices"]["hits"], flush=True)
if not pid:
    os._exit(0)
"""
    assert measured(program, cwd=tmp_path) == "1\n2\n"


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "long"])
def test_a_file_without_end_beside_the_program_does_not_hold_it_up(
    kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "pyproject.toml"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "long":
        with file.open("wb") as sparse:
            sparse.truncate(2**40)
    else:
        file.symlink_to(kind)
    (tmp_path / "program.py").write_text("print('done')")
    done = subprocess.run(
        [*RUN, sys.executable, "program.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        timeout=180,
        check=True,
    )
    assert done.stdout == b"done\n"


def test_settings_and_names_are_those_of_the_start(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    program = tmp_path / "shop" / "server.py"
    program.write_text(
        "import os, sys\n"
        "os.chdir('/')\n"
        "os.environ['METRICS_WINDOW_SIZE'] = '77'\n"
        "import metertap\n"
        "metertap.record_tool_call('search', True, 1.0)\n"
        "from metertap.runtime.tap import active_tap\n"
        "print(active_tap().settings.window_size, metertap.get_all_metrics()['service']['name'])\n"
    )
    done = run(*RUN, sys.executable, "shop/server.py", cwd=tmp_path)
    assert (done.stdout, done.told) == (b"1000 shop-server\n", "")


def test_caches_made_while_it_waits_and_after_it_are_read(tmp_path: Path) -> None:
    program = """
import functools, inspect, pickle
from functools import lru_cache
assert pickle.loads(pickle.dumps(lru_cache)) is lru_cache
print(lru_cache.__name__, inspect.signature(lru_cache), lru_cache.__module__)
@lru_cache
def first(number): return number
@lru_cache(maxsize=8)
def second(number): return number
@functools.cache
def third(number): return number
for cached in (first, second, third):
    cached(1), cached(1)
try:
    lru_cache(maxsize="many")
except TypeError as error:
    depth, traceback = 0, error.__traceback__
    while traceback:
        depth, traceback = depth + 1, traceback.tb_next
    print(error, depth)
import metertap
print({name: one["hits"] for name, one in metertap.get_all_metrics()["cache_metrics"].items()})
"""
    *shown, found = measured(program, cwd=tmp_path).splitlines()
    assert found == "{'__main__.first': 1, '__main__.second': 1, '__main__.third': 1}"
    without = run(sys.executable, "program.py", cwd=tmp_path).stdout.decode().splitlines()
    assert shown == without[:-1] or sys.version_info < (3, 11)  # there, frames cannot be hidden


@pytest.mark.parametrize("library", ["", "import watchfiles"])
@pytest.mark.parametrize("imported", ["at first", "when it has ended"])
def test_a_decorator_of_the_programs_around_that_of_python_may_call_it(
    imported: str, library: str, tmp_path: Path
) -> None:
    (tmp_path / "watchfiles.py").write_text("")
    wrap = "functools.lru_cache = functools.wraps(own)(lambda *args, **named: own(*args, **named))"
    first = "@own\ndef first(number): return number\nfirst(1), first(1)"
    program = f"""
import functools
from functools import lru_cache as own
{library}
{wrap if imported == "at first" else first}
{first if imported == "at first" else wrap}
@functools.lru_cache
def second(number): return number
@functools.lru_cache(8)
def third(number): return number
second(1), second(1), third(1), third(1)
import metertap
found = metertap.get_all_metrics()["cache_metrics"]
print(*sorted((name, one["hits"]) for name, one in found.items()))
"""
    found = measured(program, cwd=tmp_path)
    assert found == "('__main__.first', 1) ('__main__.second', 1) ('__main__.third', 1)\n"


EXECUTIONS = """
import sys
executed = []
def audit(event, arguments):
    if event == "exec":
        executed.append(arguments[0].co_filename)
sys.addaudithook(audit)
import {module} as imported
assert imported is sys.modules["{module}"]
print(executed.count(imported.__file__))
"""


@pytest.mark.parametrize(
    "module", ["metertap_instrumentation", "metertap_exporters", "metertap.patching.imports"]
)
def test_a_module_of_metertap_that_ends_the_waiting_is_executed_once(
    module: str, tmp_path: Path
) -> None:
    assert measured(EXECUTIONS.format(module=module), cwd=tmp_path) == "1\n"


def test_ctrl_c_while_metertap_is_imported_ends_the_process_by_it(tmp_path: Path) -> None:
    (tmp_path / "wrapt.py").write_text(
        "import sys, time\nsys.stdout.write('importing\\n')\nsys.stdout.flush()\ntime.sleep(60)\n"
    )
    env = {"METRICS_JSON_PORT": "1", "PYTHONPATH": str(tmp_path)}  # a port that must answer at once
    with started((*RUN, sys.executable, "-c", "print('ran')"), env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        found = ended(process)
    assert (found.status, found.stdout, found.told) == (-signal.SIGINT, b"", "")
    # The program itself is interrupted as without metertap.
    own = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = run(*RUN, sys.executable, "-c", own, env={"METRICS_JSON_PORT": "0"})
    assert done.stdout == b"True\n"
