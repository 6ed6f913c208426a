"""The pytest plugin: the fixture `metertap`, `--metertap-report`, and failures with a table.

pytest loads it in every environment that has metertap, so it imports nothing until the fixture or
the option is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from metertap.testing.meter import Meter

_FIGURES = "metertap.testing.figures"


@pytest.fixture
def metertap(request: pytest.FixtureRequest) -> Iterator[Meter]:
    """Measure tools and caches during one test, from nothing: `metertap.calls("search").p95`."""
    from metertap.testing.meter import Meter, measured

    with measured() as meter:
        yield meter
        request.node.stash[Meter.KEPT] = meter.document()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin to the command line of pytest."""
    parser.getgroup("metertap").addoption(
        "--metertap-report",
        metavar="FILE",
        help="write the figures of each test that uses the fixture metertap: as JSON where FILE "
        "ends in .json, else as tables",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect figures if a report is wanted; workers of xdist send theirs."""
    file = config.getoption("--metertap-report")
    if file is not None:
        from metertap.testing.report import Report

        config.pluginmanager.register(Report(config, file), "metertap-report")


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a failed comparison of a figure by the table it belongs to."""
    for figure in (left, right):
        if type(figure).__module__ == _FIGURES:
            explain = getattr(figure, "explained", None)
            if explain is not None:
                lines: list[str] = explain(f"{left!r} {op} {right!r}")
                return lines
    return None
