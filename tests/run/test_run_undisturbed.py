"""Whatever is wrong with metertap's surroundings, the program runs as if it were not there."""

from __future__ import annotations

import socket
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support import environments
from support.json_rpc import talk
from support.programs import METERTAP, PROGRAMS, RUN, Ended, ended, run, started

pytestmark = [pytest.mark.interpreter, pytest.mark.programs]

SHOP = (sys.executable, str(PROGRAMS / "shop.py"))
RECORDS = """
import metertap
metertap.record_tool_call("search", True, 1.0)
print(metertap.get_all_metrics()["enabled"])
"""


@pytest.fixture(scope="module")
def undisturbed() -> tuple[bytes, list[str]]:
    """What the server answers to the scripted session without metertap, and what it logs."""
    return _served(SHOP)


def _served(
    command: Sequence[str], env: Mapping[str, str] | None = None
) -> tuple[bytes, list[str]]:
    """A server's answers, and the lines that it and metertap wrote to stderr."""
    with started(command, env=env) as process:
        heard = talk(process)
        rest = ended(process)
    assert (rest.status, rest.stdout) == (0, b"")
    return heard, rest.told.splitlines()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PERFORMANCE_METRICS_ENABLED", "false", None),
        ("METRICS_WINDOW_SIZE", "banana", "METRICS_WINDOW_SIZE='banana'"),
    ],
)
def test_a_server_and_its_log_are_as_without(
    variable: str, value: str, told: str | None, undisturbed: tuple[bytes, list[str]]
) -> None:
    heard, log = _served((*RUN, *SHOP), {variable: value})
    assert heard == undisturbed[0]
    said = [line for line in log if line not in undisturbed[1]]
    assert [line for line in log if line not in said] == undisturbed[1]
    assert len(said) == (told is not None), said
    assert told is None or told in said[0]


@pytest.mark.parametrize(
    ("env", "enabled", "told"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, False, None),
        ({"OTEL_METRICS_EXPORTER": "none", "METRICS_JSON_ENDPOINT_ENABLED": "no"}, True, None),
        ({"METERTAP_SERIE_LIMIT": "5"}, True, "METERTAP_SERIES_LIMIT"),
        ({"METRICS_WINDOW_SIZE": "-1"}, True, "METRICS_WINDOW_SIZE"),
        ({"METERTAP_CONFIG": "/nowhere.toml"}, True, "METERTAP_CONFIG"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense://["}, True, "OTLP"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_settings_that_are_off_or_wrong_are_one_warning_at_most(
    env: dict[str, str], enabled: bool, told: str | None
) -> None:
    measured = run(*RUN, sys.executable, "-c", RECORDS, env=env)
    assert (measured.status, measured.stdout) == (0, f"{enabled}\n".encode())
    assert measured.told.count("\n") == (told is not None)
    assert told is None or told in measured.told


def test_a_port_that_is_taken_is_one_warning() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        env = {"METRICS_JSON_PORT": str(port)}
        with started([*RUN, sys.executable, "-c", RECORDS + "input()"], env=env) as process:
            assert process.stderr is not None
            assert f"127.0.0.1:{port}" in process.stderr.readline().decode()
            rest = ended(process, b"\n")
    assert (rest.status, rest.stdout, rest.stderr) == (0, b"True\n", b"")


OURS = "metertap: "
BROKEN = """
import builtins, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name.startswith({prefix!r}):
            raise RuntimeError("a broken finder")
def broken_import(name, *args, **kwargs):
    if name.startswith({prefix!r}):
        raise RuntimeError("a broken import hook")
    return real_import(name, *args, **kwargs)
real_import = builtins.__import__
{breaks}
"""


@pytest.mark.faults
@pytest.mark.parametrize(
    ("breaks", "prefix"),
    [
        *(
            ("sys.meta_path.insert(0, Finder)", prefix)
            for prefix in ("metertap", "wrapt", "opentelemetry.sdk", "metertap_exp")
        ),
        *(  # wrapt is not imported before something needs it
            ("builtins.__import__ = broken_import", prefix)
            for prefix in ("metertap", "opentelemetry.sdk", "metertap_exp")
        ),
    ],
)
def test_a_broken_import_hook_of_the_environments_is_told(
    breaks: str, prefix: str, tmp_path: Path
) -> None:
    text = BROKEN.format(prefix=prefix, breaks=breaks)
    # The command itself needs its own imports: the hook is there for the program only.
    in_program = f"import sys\nif sys.orig_argv[1] == '-c':\n{textwrap.indent(text, '    ')}"
    (tmp_path / "sitecustomize.py").write_text(in_program)
    env = {"PYTHONPATH": str(tmp_path)}
    measured = run(*RUN, sys.executable, "-c", "print('runs')", env=env)
    assert (measured.status, measured.stdout) == (0, b"runs\n")
    assert "a broken " in measured.told
    assert all(line.startswith(OURS) for line in measured.told.splitlines())


def test_a_package_that_gives_up_as_it_is_imported_ends_no_program(tmp_path: Path) -> None:
    # As a plug-in of OpenTelemetry's may, or a package that does not know this system.
    (tmp_path / "wrapt.py").write_text("raise SystemExit('unsupported')")
    env = {"PYTHONPATH": str(tmp_path), "METERTAP_HISTORY": str(tmp_path / "history.db")}
    measured = run(*RUN, sys.executable, "-c", "print('runs')", env=env)
    assert (measured.status, measured.stdout) == (0, b"runs\n")
    assert "runs unmeasured" in measured.told
    assert "(SystemExit: unsupported)" in measured.told


def test_without_mcp_other_tools_are_measured(tmp_path: Path) -> None:
    core = environments.core(tmp_path / "core")
    measured = run(*RUN, core, "-c", RECORDS)
    assert (measured.status, measured.stdout, measured.stderr) == (0, b"True\n", b"")


def test_pytest_that_takes_warnings_for_errors_runs(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text("def test_shop():\n    assert True\n")
    error = "error::pytest.PytestAssertRewriteWarning"
    command = (sys.executable, "-m", "pytest", "-q", "-W", error, "-p", "no:cacheprovider")
    env = {"METERTAP_HISTORY": str(tmp_path / "history.db")}  # so metertap is imported at once
    measured = run(*RUN, *command, "test_shop.py", env=env, cwd=tmp_path)
    assert measured.status == 0, measured.told
    assert b"1 passed" in measured.stdout


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_closed_standard_stream_disturbs_nothing(closed: str, tmp_path: Path) -> None:
    bare = environments.bare(tmp_path / "bare")  # there is something to say on stderr

    def status(*command: str) -> Ended:
        return run("sh", "-c", f'exec "$@" {closed}>&-', "sh", *command)

    code = "import sys; sys.exit(4 if sys.stderr else 5)"
    assert status(METERTAP, "run", "--", bare, "-c", code).status == (5 if closed == "2" else 4)
