"""Whose configuration file counts: the program's own, and not that of the folder it runs in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.programs import RUN, executable, run

pytestmark = pytest.mark.programs

TABLE = """
[tool.metertap]
window_size = 77
json_host = "0.0.0.0"
prometheus_host = "0.0.0.0"
allowed_hosts = ["evil.example"]
history_size = 1
alertmanager_url = "http://evil.example:9093"
alert_webhook_url = "http://evil.example/hook"
[tool.metertap.tools]
"bank:login" = { name = "arg:password" }
[tool.metertap.caches]
"bank:cache" = {}
[tool.metertap.alerts]
runbooks = "http://evil.example"
webhook = "http://evil.example/hook"
"""
DANGEROUS = (
    "alert_webhook_url",
    "alertmanager_url",
    "alerts",
    "allowed_hosts",
    "caches",
    "history_size",
    "json_host",
    "prometheus_host",
    "tools",
)
SHOW = f"""
import json
from metertap.settings.settings import Settings, read
found, default, names = read(), Settings(), {DANGEROUS}
counted = [name for name in names if getattr(found, name) != getattr(default, name)]
print(json.dumps([found.window_size, counted]))
"""
NONE: list[str] = []
ALL = list(DANGEROUS)


def read_by(*command: str, cwd: Path, **env: str) -> tuple[int, list[str], str]:
    """The window size and the dangerous settings that took effect, and what was warned of."""
    done = run(
        *command, cwd=cwd, env={"PYTHONPATH": None, "METRICS_JSON_ENDPOINT_ENABLED": "no", **env}
    )
    assert done.status == 0, done.told
    window_size, counted = json.loads(done.stdout)
    return window_size, counted, done.told


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a configuration file and nothing else."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(TABLE)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def script_elsewhere(_project: Path, elsewhere: Path) -> list[str]:
    (elsewhere / "prog.py").write_text(SHOW)
    return [sys.executable, str(elsewhere / "prog.py")]


def entry_point_of_an_installed_package(project: Path, elsewhere: Path) -> list[str]:
    # The script does not import from the working directory, so what lies there is a decoy.
    (project / "shoplib").mkdir()
    (project / "shoplib" / "__init__.py").touch()
    packages = elsewhere / "lib" / "site-packages"
    (packages / "shoplib").mkdir(parents=True)
    (packages / "shoplib" / "__init__.py").write_text(f"def main():\n    exec({SHOW!r}, {{}})\n")
    text = (
        f"#!{sys.executable}\nimport sys\nsys.path.append({str(packages)!r})\n"
        "from shoplib import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    return [str(executable(elsewhere / "shop", text))]


def installed_package_of_a_virtual_environment_inside(project: Path, _elsewhere: Path) -> list[str]:
    return entry_point_of_an_installed_package(project, project / ".venv")


def line_of_code(_project: Path, _elsewhere: Path) -> list[str]:
    return [sys.executable, "-c", SHOW]


def script_of_a_virtual_environment_inside(project: Path, _elsewhere: Path) -> list[str]:
    (project / ".venv").mkdir()
    (project / ".venv" / "pyvenv.cfg").touch()
    return [str(executable(project / ".venv" / "bin" / "shop", f"#!{sys.executable}\n{SHOW}"))]


Shape = Callable[[Path, Path], list[str]]
STRANGERS: list[Shape] = [
    script_elsewhere,
    entry_point_of_an_installed_package,
    installed_package_of_a_virtual_environment_inside,
    script_of_a_virtual_environment_inside,
    line_of_code,
]


@pytest.mark.parametrize("measured", [(), RUN], ids=["instrument", "run"])
@pytest.mark.parametrize("shape", STRANGERS, ids=lambda shape: shape.__name__)
def test_a_file_that_lies_where_a_program_runs_cannot_reveal_send_or_open(
    shape: Shape, measured: tuple[str, ...], project: Path, elsewhere: Path
) -> None:
    command = shape(project, elsewhere)
    window_size, counted, told = read_by(*measured, *command, cwd=project)
    assert (window_size, counted) == (77, NONE)
    assert told.count("metertap: ") == 1
    assert ", ".join(DANGEROUS) + f" in {project / 'pyproject.toml'} is ignored" in told
    assert "evil.example" not in told


def script_in_it(project: Path) -> list[str]:
    (project / "prog.py").write_text(SHOW)
    return [sys.executable, str(project / "prog.py")]


def script_of_a_package_in_it(project: Path) -> list[str]:
    (project / "shop" / "inner").mkdir(parents=True)
    for folder in (project / "shop", project / "shop" / "inner"):
        (folder / "__init__.py").touch()
    (project / "shop" / "inner" / "server.py").write_text(SHOW)
    return [sys.executable, str(project / "shop" / "inner" / "server.py")]


def script_below_src(project: Path) -> list[str]:
    (project / "src").mkdir()
    (project / "src" / "prog.py").write_text(SHOW)
    return [sys.executable, str(project / "src" / "prog.py")]


def entry_point_of_an_editable_install(project: Path) -> list[str]:
    package = project / "src" / "ownshop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"def main():\n    exec({SHOW!r}, {{}})\n")
    text = (
        f"#!{sys.executable}\nimport sys\n"
        "from ownshop import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    return [str(executable(project / "bin" / "ownshop", text))]


OWN = [
    script_in_it,
    script_of_a_package_in_it,
    script_below_src,
    entry_point_of_an_editable_install,
]


@pytest.mark.parametrize("measured", [(), RUN], ids=["instrument", "run"])
@pytest.mark.parametrize("shape", OWN, ids=lambda shape: shape.__name__)
def test_the_programs_own_file_counts_wherever_it_runs(
    shape: Callable[[Path], list[str]], measured: tuple[str, ...], project: Path, elsewhere: Path
) -> None:
    command = shape(project)
    env = {"PYTHONPATH": str(project / "src")}
    found = read_by(*measured, *command, cwd=elsewhere, **env)
    assert found[:2] == (77, ALL)
    assert "ignored" not in found[2]


@pytest.mark.parametrize(
    "command",
    [("-m", "shop.server"), ("scripts/prog.py",), ("-m", "uvicorn", "shop.server:app")],
    ids=" ".join,
)
def test_the_working_directorys_file_counts_for_code_that_lies_in_it(
    command: tuple[str, ...], project: Path
) -> None:
    (project / "shop").mkdir()
    (project / "scripts").mkdir()
    ends = "\nimport os, sys; sys.stdout.flush(); os._exit(0)\n"
    for name in ("shop/server.py", "scripts/prog.py"):
        (project / name).write_text(SHOW + ends)
    window_size, counted, told = read_by(sys.executable, *command, cwd=project)
    assert (window_size, counted) == (77, ALL)
    assert "ignored" not in told


def test_a_named_file_counts_whole(project: Path, elsewhere: Path) -> None:
    command = script_elsewhere(project, elsewhere)
    file = str(project / "pyproject.toml")
    assert read_by(*command, cwd=elsewhere, METERTAP_CONFIG=file)[:2] == (77, ALL)


@pytest.mark.parametrize("measured", [(), RUN], ids=["instrument", "run"])
@pytest.mark.parametrize("name", ["metertap.toml", "./pyproject.toml", "sub/../metertap.toml"])
def test_a_relative_name_is_a_file_that_merely_lies_there(
    name: str, measured: tuple[str, ...], project: Path, elsewhere: Path
) -> None:
    (project / "metertap.toml").write_text(TABLE)
    (project / "sub").mkdir()
    stranger = script_elsewhere(project, elsewhere)
    window_size, counted, told = read_by(*measured, *stranger, cwd=project, METERTAP_CONFIG=name)
    assert (window_size, counted) == (77, NONE)
    assert ", ".join(DANGEROUS) + " in " in told
    found = read_by(*measured, *script_in_it(project), cwd=project, METERTAP_CONFIG=name)
    assert found[:2] == (77, ALL)


def test_a_home_that_no_shell_has_expanded_is_the_users_own(project: Path, elsewhere: Path) -> None:
    home = elsewhere / "home"
    home.mkdir()
    (home / "metertap.toml").write_text("window_size = 66")
    (project / "~").mkdir()
    (project / "~" / "metertap.toml").write_text(TABLE)
    command = script_elsewhere(project, elsewhere)
    env = {"METERTAP_CONFIG": "~/metertap.toml", "HOME": str(home)}
    assert read_by(*command, cwd=project, **env)[:2] == (66, NONE)


def test_workers_of_multiprocessing_read_their_parents_file(project: Path, elsewhere: Path) -> None:
    (project / "prog.py").write_text(
        "import multiprocessing, sys\n"
        f"def work():\n    exec({SHOW!r}, {{}})\n    sys.stdout.flush()\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=work)\n"
        "    child.start(); child.join()\n"
    )
    found = read_by(sys.executable, str(project / "prog.py"), cwd=elsewhere)
    assert found[:2] == (77, ALL)


@pytest.mark.skipif(
    not hasattr(os, "chown") or os.getuid() != 0, reason="only root gives files away"
)
@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_of_another_user_beside_the_program_does_not_count(
    is_link: bool, project: Path, elsewhere: Path
) -> None:
    command = script_in_it(project)
    file = project / "pyproject.toml"
    if is_link:
        file.symlink_to(file.rename(elsewhere / "of_this_user.toml"))
    os.chown(file, 12345, 12345, follow_symlinks=False)
    assert read_by(*command, cwd=elsewhere)[:2] == (1000, NONE)
    assert read_by(*command, cwd=project)[:2] == (77, NONE)


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin", "pipe", "sparse", "parts", "quoted"])
def test_a_file_that_is_none_neither_hangs_nor_fills_the_memory(
    target: str, project: Path, elsewhere: Path
) -> None:
    file = project / "pyproject.toml"
    file.unlink()
    if target == "pipe":
        os.mkfifo(file)
    elif target == "sparse":
        with file.open("wb") as sparse:
            sparse.truncate(10**11)
    elif target in {"parts", "quoted"}:  # the parser takes minutes for such a key
        part = "a" if target == "parts" else '"a b"'
        file.write_text(f"{'.'.join([part] * 50_000)} = 1\n[tool.metertap]\nwindow_size = 77\n")
    else:
        file.symlink_to(target)
    command = script_elsewhere(project, elsewhere)
    assert read_by(*command, cwd=project)[:2] == (1000, NONE)


def test_a_key_of_many_parts_is_told_apart_from_long_texts(project: Path, elsewhere: Path) -> None:
    long = ". ".join(["sentence"] * 500) + "a" * 100_000 + "1.2.3.4." * 3
    text = f"[tool.other]\nx = '{long}'\ny = \"{long}\"\n[tool.metertap]\nwindow_size = 77\n"
    (project / "pyproject.toml").write_text(text)
    command = script_elsewhere(project, elsewhere)
    assert read_by(*command, cwd=project)[:2] == (77, NONE)


def test_a_file_of_anything_neither_delays_the_start_nor_fills_the_log(
    project: Path, elsewhere: Path
) -> None:
    keys = "\n".join(f"window_siz{number} = 1" for number in range(20_000))
    names = ", ".join(f'"a{number}"' for number in range(20_000))
    text = f'service_name = "{"x" * 100_000}"\ndisabled_instrumentations = [{names}]\n{keys}'
    (project / "pyproject.toml").write_text(f"[tool.metertap]\n{text}")
    program = elsewhere / "program.py"
    program.write_text(
        "import time, metertap\n"
        "began = time.process_time()\n"
        "tap = metertap.instrument(json_endpoint=False)\n"
        "print(time.process_time() - began < 4, len(tap.snapshot()['service']['name']) < 100)\n"
    )
    done = run(sys.executable, str(program), cwd=project)
    assert done.stdout.split() == [b"True", b"True"], done.told
    assert len(done.stderr.splitlines()) < 100
