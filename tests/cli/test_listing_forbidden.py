"""Commands where running processes may not be listed: nobody is found, and the reason is said."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from support.programs import METERTAP, NO_LIBRARIES, Ended, run
from support.unprivileged import unprivileged

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="owners and modes are POSIX's"),
    pytest.mark.programs,
]


def no_entry(base: Path) -> None:
    base.chmod(0)


def no_listing(base: Path) -> None:
    (base / "metertap").mkdir()
    (base / "metertap").chmod(0)


def another_users(base: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make another user's directory")
    (base / "metertap").mkdir(mode=0o700)
    os.chown(base / "metertap", 12345, 12345)


@pytest.fixture(params=[no_entry, no_listing, another_users])
def base(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the user's runtime directory, in which nothing can be listed."""
    base = Path(os.environ["XDG_RUNTIME_DIR"])
    forbid: Callable[[Path], None] = request.param
    forbid(base)
    listed = unprivileged(
        sys.executable, "-c", f"import os; os.listdir({str(base / 'metertap')!r})"
    )
    if run(*listed).status == 0:
        pytest.skip("nothing can be forbidden here")
    yield base
    base.chmod(0o700)
    if (base / "metertap").is_dir():
        (base / "metertap").chmod(0o700)


def forbidden(*command: str, env: Mapping[str, str] | None = None) -> Ended:
    return run(*unprivileged(METERTAP, *command), env=env)


@pytest.mark.parametrize("command", [("snapshot",), ("top", "--once"), ("top", "--json")])
def test_nobody_is_found_and_one_line_says_why(base: Path, command: tuple[str, ...]) -> None:
    ended = forbidden(*command)
    assert (ended.status, ended.stdout) == (1, b"")
    (line,) = ended.told.splitlines()
    assert line.startswith(f"metertap {command[0]}: ")
    assert str(base / "metertap") in line


def test_doctor_checks_the_environment_and_says_why_it_asks_nobody(base: Path) -> None:
    ended = forbidden("doctor", env=NO_LIBRARIES)
    assert (ended.status, ended.stderr) == (0, b"")
    shown = "".join(ended.stdout.decode().split())  # a path may be folded
    assert re.search(f"runningprocessescannotbelisted:.*{re.escape(str(base / 'metertap'))}", shown)


def test_an_address_needs_no_list(base: Path, free_port: int) -> None:
    ended = forbidden("snapshot", str(free_port))
    assert (ended.status, ended.told.count("\n")) == (1, 1)
    assert f"http://127.0.0.1:{free_port}" in ended.told
    assert "refused" in ended.told
