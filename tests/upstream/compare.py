"""Compare the libraries' own published tests with metertap in force and without it.

    python tests/upstream/compare.py [SUITE ...] [--keep FOLDER]

Each suite is taken from the library's source distribution or its repository, and run twice in an
environment of its own: as it is, and with metertap measuring. A test that passes without and fails
with is run both ways again, so that one that fails now and then is not taken for a difference. The
exit status is 1 if a test newly fails.

Needs `uv`, pip and git, and for some suites a server program on PATH. Each takes from minutes to an
hour.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from suites import SUITES, Suite

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
AGAIN = 2
"""How often a difference is looked at again before it is told."""
SECONDS = 3600
"""The longest that one run of a suite may take."""
SERVERS = {
    "redis-server": ("--port", "6379", "--bind", "127.0.0.1", "--save", ""),
    "memcached": ("-u", "root", "-l", "127.0.0.1", "-p", "11211"),
}
"""The arguments of each server program, on the port that the libraries' tests expect."""

Results = dict[str, str]
"""How each test of a run ended: passed, failed or skipped."""


def main() -> int:
    """Run the suites that are named, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=", ".join(suite.name for suite in SUITES))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="environments and sources")
    given = parser.parse_args()
    unknown = set(given.names) - {suite.name for suite in SUITES}
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    wanted = [suite for suite in SUITES if not given.names or suite.name in given.names]
    status = 0
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(f"{'suite':<16} {'without':>8} {'with':>8} {'newly failing':>14}", flush=True)
        for suite in wanted:
            absent = [server for server in suite.servers if shutil.which(server) is None]
            if absent:
                print(f"{suite.name:<16} not run: {absent[0]} is not on PATH", flush=True)
                continue
            without, measured, new = compared(suite, folder.resolve() / suite.name)
            if not passed(without):
                print(f"{suite.name:<16} does not run: see without.log", flush=True)
                status = 1
                continue
            print(
                f"{suite.name:<16} {passed(without):>8} {passed(measured):>8} {len(new):>14}",
                flush=True,
            )
            for test in new:
                print(f"    {test}", flush=True)
            status |= bool(new)
    return status


def passed(results: Results) -> int:
    """Count the tests that passed."""
    return sum(ended == "passed" for ended in results.values())


def compared(suite: Suite, folder: Path) -> tuple[Results, Results, list[str]]:
    """Run `suite` both ways; what each run gave, and the tests that fail only when measured."""
    source = prepared(suite, folder)
    with served(suite):
        without = run(suite, folder, source, measured=False)
        measured = run(suite, folder, source, measured=True)
        new = differing(without, measured)
        for _ in range(AGAIN if new else 0):
            again, still = (run(suite, folder, source, measured=way) for way in (False, True))
            new = [test for test in new if test in differing(again, still)]
    return without, measured, new


def differing(without: Results, measured: Results) -> list[str]:
    """Name the tests that passed without and did not with."""
    return sorted(
        test
        for test, ended in without.items()
        if ended == "passed" and measured.get(test, "missing") != "passed"
    )


def prepared(suite: Suite, folder: Path) -> Path:
    """Make the environment and unpack the source, if they are not there; return its folder."""
    python = folder / "env" / "bin" / "python"
    source = folder / "source"
    if not python.exists():
        folder.mkdir(parents=True, exist_ok=True)
        source.mkdir(exist_ok=True)
        command("uv", "venv", "-q", "--python", sys.executable, str(folder / "env"))
        install = ("uv", "pip", "install", "-q", "--python", str(python))
        command(*install, "pytest", "pytest-timeout", "pip", *suite.needs, "-e", str(ROOT))
    if suite.requirement is None:
        return source
    if any(source.iterdir()):
        pass  # it was kept
    elif suite.requirement.startswith("https:"):
        repository, _, tag = suite.requirement.partition("@")
        clone = ("git", "clone", "-q", "--depth", "1", "--branch", tag, repository)
        command(*clone, str(source / suite.name))
    else:
        download = (str(python), "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder))
        library = suite.requirement.partition("==")[0]
        command(*download, "--no-binary", library, suite.requirement)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(source, filter="data")
    (unpacked,) = source.iterdir()
    return unpacked


def run(suite: Suite, folder: Path, source: Path, *, measured: bool) -> Results:
    """Run the tests once, and read how each of them ended."""
    report = folder / ("with.xml" if measured else "without.xml")
    report.unlink(missing_ok=True)
    environment = {**os.environ, **dict(suite.settings), "PYTHONPATH": str(HERE)}
    environment["PATH"] = f"{folder / 'env' / 'bin'}:{environment['PATH']}"
    arguments = [str(folder / "env" / "bin" / "python")]
    if suite.runner:
        arguments += suite.runner
        environment |= {"REPORT": str(report), "IN_FORCE": "yes" if measured else ""}
    else:
        arguments += ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:langsmith"]
        arguments += ["-o", "addopts=", "--timeout=120", f"--junitxml={report}"]
        arguments += ["-p", "in_force"] if measured else []
        arguments += suite.arguments
        for pattern in suite.tests.split():
            arguments += sorted(str(file.relative_to(source)) for file in source.glob(pattern))
    log_file = report.with_suffix(".log")
    with log_file.open("w") as log, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            arguments,
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=SECONDS,
            check=False,
        )
    return read(report) if report.exists() else {}


def read(report: Path) -> Results:
    """Read a JUnit report. A test that is named twice counts as failed if either failed."""
    found: Results = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ended = "passed"
        if case.find("failure") is not None or case.find("error") is not None:
            ended = "failed"
        elif case.find("skipped") is not None:
            ended = "skipped"
        if found.get(name) != "failed":
            found[name] = ended
    return found


@contextlib.contextmanager
def served(suite: Suite) -> Iterator[None]:
    """Run the servers that the suite expects, on loopback."""
    with contextlib.ExitStack() as stack:
        for server in suite.servers:
            started = subprocess.Popen(
                (server, *SERVERS[server]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(started.wait)
            stack.callback(started.terminate)
            time.sleep(1)
            if started.poll() is not None:
                sys.exit(f"{server} does not start: is its port taken?")
        yield


def command(*arguments: str) -> None:
    """Run one command that has to succeed; what it says is shown if it does not."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
