"""`--metertap-report FILE`: the figures of each test that used the fixture, in one file."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from metertap.faults import shown
from metertap.replacing import replace
from metertap.tables.document import Document
from metertap.testing.figures import text_of
from metertap.testing.meter import Meter
from metertap.text import printable


class Report:
    """Hooks that collect the figures of tests. A worker of xdist sends them with its reports."""

    def __init__(self, config: pytest.Config, file: str) -> None:
        self._is_worker = hasattr(config, "workerinput")
        self._file = Path(file)
        self._found: dict[str, Document] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, None]:
        """Add the figures to the report of a test's teardown."""
        outcome = yield
        document = item.stash.get(Meter.KEPT, None)
        report = outcome.get_result()
        if document is not None and report.when == "teardown":
            report.metertap = document

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the figures of a report, wherever its test ran."""
        document = getattr(report, "metertap", None)
        if document is not None:
            self._found[report.nodeid] = document

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file in the order of the tests' names, since workers run them in any order.

        If that fails, the run fails, but pytest goes on with its own reports.
        """
        if self._is_worker:
            return
        try:
            text = self._text()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace(self._file, text)
        except Exception as error:
            sys.stderr.write(f"\nmetertap: no report is written: {shown(error, str)}\n")
            session.exitstatus = session.exitstatus or pytest.ExitCode.INTERNAL_ERROR

    def _text(self) -> str:
        found = dict(sorted(self._found.items()))
        if self._file.suffix == ".json":
            return json.dumps(found, indent=2) + "\n"
        return "\n".join(
            f"{printable(test)}\n{text_of(document)}\n" for test, document in found.items()
        )
