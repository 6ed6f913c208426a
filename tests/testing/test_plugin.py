"""The plugin of pytest, in runs of its own: the fixture, its messages, the report."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import metertap
from metertap.tables.document import Document
from metertap.testing.report import Report
from servers.webhook import webhook

pytestmark = pytest.mark.programs

pytest_plugins = ["pytester"]

SHOP = """
import functools
import time
import metertap as of

@of.tool
def search(seconds=0.0):
    time.sleep(seconds)

@of.tool
def order():
    raise ValueError("sold out")

@functools.lru_cache
def price(item):
    return item * 2
"""


@pytest.fixture(autouse=True)
def shop(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(shop=SHOP)


def ran(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_shop="import pytest\nfrom shop import order, price, search\n" + code)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)


def test_calls_outcomes_and_hit_rates_are_asserted(pytester: pytest.Pytester) -> None:
    code = """
def test_shop(metertap):
    for _ in range(3):
        search()
    with pytest.raises(ValueError):
        order()
    for item in (1, 1, 1, 1, 2):
        price(item)
    calls = metertap.calls("search")
    assert 0 <= calls.p50 <= calls.p95 <= calls.p99 <= calls.longest < 60
    assert calls.mean <= calls.longest
    assert (calls.count, calls.failed, calls.outcomes) == (3, 0, {"ok": 3})
    assert metertap.calls("order").outcomes == {"exception": 1}
    assert metertap.calls("order").errors == {"ValueError": 1}
    assert metertap.cache("shop.price").hit_rate == 0.6
    assert (metertap.cache("shop.price").hits, metertap.cache("shop.price").misses) == (3, 2)
    assert metertap.calls("nothing").count == metertap.cache("nothing").count == 0
    assert "search" in metertap.table()
    assert metertap.document()["system_metrics"]["total_requests"] == 4
"""
    ran(pytester, code).assert_outcomes(passed=1)


def test_each_test_has_a_meter_of_its_own(pytester: pytest.Pytester) -> None:
    code = """
@pytest.mark.parametrize("number", range(3))
def test_one(metertap, number):
    search()
    price(1)
    assert metertap.calls("search").count == 1
    assert metertap.cache("shop.price").count == 1
    assert metertap.calls("order").count == 0

def test_nothing(metertap):
    assert metertap.calls("search").count == 0
    assert metertap.table().count("search") == 0

def test_without():
    search()
"""
    ran(pytester, code, "-p", "no:randomly").assert_outcomes(passed=5)


def test_a_program_that_measures_itself_goes_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        shop=SHOP + "tap = of.instrument(service_name='shop', json_endpoint=False)\n"
    )
    code = """
from shop import tap
def test_first(metertap):
    search()
    assert metertap.calls("search").count == 1
def test_second(metertap):
    assert tap.is_active
    assert tap.settings.service_name == "shop"
    assert metertap.calls("search").count == 0
    search()
    assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
def test_third():
    assert tap.is_active
"""
    ran(pytester, code).assert_outcomes(passed=3)


def test_a_failure_shows_the_table(pytester: pytest.Pytester) -> None:
    code = """
def test_slow(metertap):
    search(0.05); search(0.05)
    assert metertap.calls("search").p95 < 0.01
def test_outcomes(metertap):
    search()
    assert metertap.calls("search").outcomes == {"ok": 2}
def test_hits(metertap):
    price(7)
    assert metertap.cache("shop.price").hit_rate >= 0.8
"""
    result = ran(pytester, code)
    result.assert_outcomes(failed=3)
    result.stdout.re_match_lines_random(
        [
            r"E +assert 0\.\d+ < 0\.01",
            r"E +tool +calls +ok %.*",
            r"E +search +2 +100 .*ms.*",
            r"E +AssertionError: assert {'ok': 1} == {'ok': 2}",
            r"E +assert 0\.0 >= 0\.8",
            r"E +shop\.price +functools +1 +0 .*",
        ]
    )


def test_a_figure_that_there_is_none_of_says_why(pytester: pytest.Pytester) -> None:
    code = """
def test_once(metertap):
    search()
    assert metertap.calls("search").p95 < 0.2
def test_misspelt(metertap):
    search(); search()
    assert metertap.calls("serach").p95 < 0.2
def test_no_lookup(metertap):
    assert metertap.cache("prices").hit_rate > 0.5
"""
    result = ran(pytester, code)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "*NoData: 'search' has no p95: it has 1 call*",
            "*NoData: 'serach' has no p95: it has 0 calls; did you mean search?*",
            "*NoData: 'prices' has no hit rate: it has no lookups*",
        ]
    )


def test_where_measuring_is_switched_off_the_test_fails_and_says_so(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    result = ran(pytester, "def test_it(metertap): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*nothing can be measured: OTEL_SDK_DISABLED is true*"])


def test_asynchronous_tests_are_measured(pytester: pytest.Pytester) -> None:
    code = """
import asyncio
import metertap as of

@of.tool
async def fetch():
    await asyncio.sleep(0)

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_it(metertap):
    await asyncio.gather(*(fetch() for _ in range(5)))
    assert metertap.calls("fetch").outcomes == {"ok": 5}
"""
    ran(pytester, code).assert_outcomes(passed=1)


TWO = """
@pytest.mark.parametrize("number", [1, 2])
def test_one(metertap, number):
    for _ in range(number):
        search()
def test_without():
    search()
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_the_report_has_the_figures_of_each_test(
    workers: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    ran(pytester, TWO, "--metertap-report", "out/report.json", *workers).assert_outcomes(passed=3)
    found = json.loads((pytester.path / "out" / "report.json").read_text())
    assert {
        test: document["tool_metrics"]["search"]["total_calls"] for test, document in found.items()
    } == {"test_shop.py::test_one[1]": 1, "test_shop.py::test_one[2]": 2}


def test_a_report_may_be_tables(pytester: pytest.Pytester) -> None:
    ran(pytester, TWO, "--metertap-report=report.txt").assert_outcomes(passed=3)
    text = (pytester.path / "report.txt").read_text()
    assert text.index("test_shop.py::test_one[1]\n") < text.index("test_shop.py::test_one[2]\n")
    assert text.count("tool    calls") == 2


def test_a_report_that_cannot_be_written_fails_the_run_and_nothing_else(
    pytester: pytest.Pytester,
) -> None:
    result = ran(pytester, TWO, "--metertap-report", ".")
    result.assert_outcomes(passed=3)
    assert result.ret != 0
    result.stderr.fnmatch_lines(["metertap: no report is written: *"])


def test_a_report_has_tests_of_any_name(tmp_path: Path) -> None:
    config: Any = SimpleNamespace()
    session: Any = SimpleNamespace(exitstatus=0)
    report = Report(config, str(tmp_path / "report.txt"))
    name = "folder \udcff/test_it.py::test[\x1b]"  # as Python has names that are no UTF-8
    report._found[name] = cast(Document, metertap.get_all_metrics())
    report.pytest_sessionfinish(session)
    assert (
        (tmp_path / "report.txt").read_text().startswith("folder \\udcff/test_it.py::test[\\x1b]")
    )
    assert session.exitstatus == 0


def test_a_report_is_not_written_to_where_a_link_points(pytester: pytest.Pytester) -> None:
    mine, place = pytester.path / "mine", pytester.path / "report.json"
    mine.write_text("mine")
    place.symlink_to(mine)
    ran(pytester, TWO, "--metertap-report", "report.json").assert_outcomes(passed=3)
    assert mine.read_text() == "mine"
    assert len(json.loads(place.read_text())) == 2


def test_a_run_that_does_not_use_it_imports_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_other="""
import sys
def test_it():
    ours = {name for name in sys.modules if name.startswith("metertap")}
    package = {"metertap", "metertap._version", "metertap.importing", "metertap.unavailable"}
    assert ours == package | {"metertap.testing", "metertap.testing.plugin"}
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "test_other.py")
    result.assert_outcomes(passed=1)


def test_nobody_is_told_and_nothing_kept_of_what_a_test_measures(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    history = tmp_path / "history.db"
    (tmp_path / "metertap.toml").write_text(
        f"history = '{history}'\n"
        "[alerts]\nerror_rate = 0.01\nminimum_calls = 1\nfor = '0s'\nwindow = '5m'\nevery = 0.1\n"
    )
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    with webhook() as hook:
        monkeypatch.setenv("METERTAP_ALERT_WEBHOOK_URL", hook.url)
        result = ran(
            pytester,
            "import time\n"
            "def test_it(metertap):\n"
            "    for _ in range(30):\n"
            "        with pytest.raises(ValueError): order()\n"
            "        time.sleep(0.05)\n",
        )
        result.assert_outcomes(passed=1)
        assert hook.requests == []
    assert not history.exists()


def test_it_writes_nothing_and_lists_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("METERTAP_ANNOUNCE", "true")
    listed = tmp_path / "listed"
    listed.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(listed))
    result = ran(pytester, "def test_it(metertap): search()\n", "-s")
    result.assert_outcomes(passed=1)
    assert "metertap:" not in result.stderr.str() + result.stdout.str()
    assert [path for path in listed.rglob("*") if path.is_file()] == []
