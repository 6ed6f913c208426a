"""`functools.lru_cache` and `functools.cache`: the application's caches, read."""

from __future__ import annotations

import functools
import gc
import inspect
import json
import pickle
import re
import subprocess
import sys
import textwrap
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from kits.read_cache_kit import ReadCacheKit, named
from metertap import Tap
from metertap_instrumentation.caches import discovery, functools_lru
from metertap_instrumentation.caches.applications import name_of
from support.forking import ran
from support.modules import importable

pytestmark = pytest.mark.interpreter

EARLY = functools.lru_cache
_CLASS: Any = functools._lru_cache_wrapper


class Kit(ReadCacheKit):
    system = "functools"

    def decorate(self, name: str = "price", module: str = "shop", *, fails: bool = False) -> Any:
        def function(item: Any) -> Any:
            return 1 / 0 if fails else item

        return self.cached(named(function, name, module))

    def cached(self, function: Any) -> Any:
        return functools.lru_cache(maxsize=8)(function)

    def call(self, cached: Any, argument: Any) -> Any:
        return cached(argument)


class TestWithArguments(Kit):
    pass


class TestBare(Kit):
    def cached(self, function: Any) -> Any:
        return functools.lru_cache(function)


class TestCache(Kit):
    def cached(self, function: Any) -> Any:
        return functools.cache(function)


class TestTyped(Kit):
    def cached(self, function: Any) -> Any:
        return functools.lru_cache(None, True)(function)


@pytest.fixture
def tap() -> Iterator[Tap]:
    gc.collect()  # caches of other tests would be found
    with metertap.instrument() as tap:
        yield tap
        assert tap.diagnosis()["faults"] == {}


def caches() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["cache_metrics"]
    return found


def test_the_cache_is_pythons_own_and_so_a_lookup_costs_nothing(tap: Tap) -> None:
    @functools.lru_cache(maxsize=8)
    def price(item: str) -> str:
        "What it costs."
        return item

    caches()
    assert type(price) is _CLASS
    assert str(inspect.signature(price)) == "(item: 'str') -> 'str'"
    assert price.__doc__ == "What it costs."
    assert price.cache_parameters() == {"maxsize": 8, "typed": False}
    assert price.__wrapped__.__name__ == price.__name__ == "price"


def test_the_decorator_is_as_before_and_undone_the_same(tap: Tap) -> None:
    assert inspect.isfunction(functools.lru_cache)
    assert inspect.signature(functools.lru_cache) == inspect.signature(EARLY)
    assert functools.lru_cache.__doc__ == EARLY.__doc__
    assert pickle.loads(pickle.dumps(functools.lru_cache)) is functools.lru_cache
    assert functools.lru_cache is not EARLY
    decorator = functools.lru_cache(maxsize=2)
    assert inspect.isfunction(decorator)
    tap.shutdown()
    assert functools.lru_cache is EARLY
    assert type(decorator(str.upper)) is _CLASS


@pytest.mark.parametrize("wrong", ["functools.lru_cache('8')", "functools.lru_cache(8)('f')"])
def test_what_cannot_be_decorated_fails_as_before(tap: Tap, wrong: str) -> None:
    def failure() -> tuple[str, int]:
        with pytest.raises(TypeError) as caught:
            eval(wrong)
        return str(caught.value), len(traceback.extract_tb(caught.value.__traceback__))

    ours = failure()
    tap.shutdown()
    theirs = failure()
    assert ours[0] == theirs[0]
    if sys.version_info >= (3, 11):
        assert ours[1] == theirs[1]


ASKED: list[str] = []


class Shop:
    def __init__(self) -> None:
        self.price = functools.lru_cache(maxsize=8)(self._price)

    def _price(self, item: str) -> str:
        return item

    def __call__(self, item: str) -> str:
        return item

    def __getattr__(self, name: str) -> Any:
        ASKED.append(name)
        raise AttributeError(name)


def test_methods_partials_and_callable_objects_have_names(tap: Tap) -> None:
    class Catalogue:
        @functools.lru_cache(maxsize=8)  # noqa: B019
        def find(self, item: str) -> str:
            return item

        @staticmethod
        @functools.cache
        def all() -> int:
            return 1

    shop, catalogue = Shop(), Catalogue()
    partial = functools.lru_cache(functools.partial(Shop._price, None))
    making = functools.lru_cache(Shop)
    calling = functools.lru_cache(maxsize=8)(shop)
    for function in (shop.price, catalogue.find, Catalogue().find, partial, calling):
        function("a")
    catalogue.all()
    catalogue.all()
    making()
    asked = list(ASKED)  # by `functools`
    local = "test_methods_partials_and_callable_objects_have_names.<locals>.Catalogue"
    assert {name: (item["hits"], item["misses"]) for name, item in caches().items()} == {
        f"{__name__}.Shop._price": (0, 2),  # of an instance, and the partial function
        f"{__name__}.{local}.find": (0, 2),
        f"{__name__}.{local}.all": (1, 1),
        f"{__name__}.Shop": (0, 2),  # the class, and an instance that is called
    }
    assert asked == ASKED


def test_a_decorator_on_top_makes_no_second_cache(tap: Tap) -> None:
    @functools.lru_cache
    def price(item: Any) -> Any:
        return item

    @functools.wraps(price)
    def above(*args: Any) -> Any:
        return price(*args)

    assert len(caches()) == 1
    assert above is not None


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    source = """
        from functools import lru_cache
        @lru_cache
        def price(item): return item
        def make():
            @lru_cache(maxsize=8)
            def made(item): return item
            return made
    """
    yield from importable("shop_with_caches", source, tmp_path, monkeypatch)


def test_caches_of_modules_that_had_the_decorator_before(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = __import__(shop)
    gc.collect()
    with metertap.instrument() as tap:
        assert tap.pipeline.json is not None
        assert tap.pipeline.json.endpoint.wait(60)  # `price` was seen
        assert set(caches()) == {f"{shop}.price"}
        made = module.make()
        made("a")
        assert set(caches()) == {f"{shop}.price"}
        monkeypatch.setitem(sys.modules, "imported_later", types.ModuleType("imported_later"))
        assert set(caches()) == {f"{shop}.price"}  # once a minute
        monkeypatch.setattr(discovery, "RESCAN_SECONDS", 0.0)
        assert caches()[f"{shop}.make.<locals>.made"]["misses"] == 1


def test_objects_of_a_module_are_not_asked_what_they_are(
    shop: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    class Lazy:
        @property
        def __class__(self) -> Any:
            asked.append("class")
            raise RuntimeError("not set up yet")

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            asked.append(name)
            raise RuntimeError("not set up yet")

    module: Any = __import__(shop)
    module.lazy, module.Strange = Lazy(), Meta("Strange", (), {"__module__": shop})
    asked.clear()
    with metertap.instrument(json_endpoint=False) as tap:
        assert asked == []
        module.price("a")
        assert caches()[f"{shop}.price"]["misses"] == 1
        assert tap.diagnosis()["faults"] == {}


class LazyModule(types.ModuleType):
    """A module that imports what it promises, when all of it is asked for, as those of `py` do."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise ImportError("what it promises is not installed")


def test_lazy_modules_stay_lazy(shop: str, tap: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = __import__(shop)
    lazy: Any = LazyModule("lazy_shop")
    lazy.price = functools.lru_cache(named(lambda item: item, "price", "lazy_shop"))
    monkeypatch.setitem(sys.modules, "lazy_shop", lazy)
    tap.shutdown()
    with metertap.instrument(json_endpoint=False) as again:
        module.price("a")
        lazy.price("a")
        found = caches()
        assert found[f"{shop}.price"]["misses"] == found["lazy_shop.price"]["misses"] == 1
        assert again.diagnosis()["faults"] == {}
        assert again.diagnosis()["instrumentations"]


def test_there_is_no_search_without_need(tap: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[object] = []
    search = discovery._search

    def counted(on: Any) -> Any:
        searched.append(on)
        return search(on)

    monkeypatch.setattr(discovery, "_search", counted)
    monkeypatch.setattr(discovery, "RESCAN_SECONDS", 0.0)
    for _ in range(3):
        functools.lru_cache(named(lambda: None, "price", "shop"))
        caches()
    assert len(searched) == 1


def test_it_is_called_python_by_doctor(tap: Tap) -> None:
    (found,) = (i for i in tap.diagnosis()["instrumentations"] if i["name"] == "functools")
    assert (found["library"], found["version"]) == ("Python", sys.version.split()[0])
    assert found["patches"][0]["bound"] == ["functools:lru_cache"]


def test_which_functions_are_the_applications() -> None:
    def function() -> None: ...

    assert functools_lru.is_applications(function)
    assert functools_lru.is_applications(Shop)
    assert functools_lru.is_applications(Shop()._price)
    for other in (json.loads, re.compile, len, str.upper, metertap.instrument, pytest.raises, 5):
        assert not functools_lru.is_applications(other)
    assert functools_lru.is_applications(named(lambda: None, "f", "__main__"))
    itself: Any = Shop()
    itself.__wrapped__ = itself
    assert name_of(itself) is None


PROGRAM = """
    import functools, json, metertap

    @functools.lru_cache
    def early(): ...

    def main():
        metertap.instrument(json_endpoint=False, prometheus=False)
        import helper_library, shop_parts
        early(), shop_parts.price(), helper_library.helped(), Local.find()
        print(json.dumps(sorted(metertap.get_all_metrics()["cache_metrics"])))

    class Local:
        @staticmethod
        @functools.cache
        def find(): ...
"""
CACHED = """
    import functools
    @functools.lru_cache(maxsize=1)
    def {name}(): ...
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An installed program with two packages, and an installed library."""
    site = tmp_path / "lib" / "site-packages"
    files = {
        "shop/__init__.py": "",
        "shop/cli.py": PROGRAM,
        "shop/__main__.py": "from shop.cli import main; main()",
        "shop_parts/__init__.py": CACHED.format(name="price"),
        "helper_library.py": CACHED.format(name="helped"),
        "the_shop-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: the-shop\nVersion: 1.0\n",
        "the_shop-1.0.dist-info/entry_points.txt": "[console_scripts]\nbuy = shop.cli:main\n",
        "helper-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: helper\nVersion: 1.0\n",
        "helper-1.0.dist-info/RECORD": "helper_library.py,,\n",
    }
    record = "".join(f"{name},,\n" for name in files if name.startswith("shop"))
    files["the_shop-1.0.dist-info/RECORD"] = record
    for name, source in files.items():
        file = site / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
    (tmp_path / "buy").write_text("from shop.cli import main; main()")
    (tmp_path / "serve.py").write_text("from shop.cli import main; main()")
    return site


OF_THE_PROGRAM = ["shop.cli.Local.find", "shop.cli.early", "shop_parts.price"]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["-m", "shop"], OF_THE_PROGRAM),
        (["buy"], OF_THE_PROGRAM),
        (["serve.py"], []),  # a script that uses the library `shop`
    ],
)
def test_an_installed_program_is_the_application(
    site: Path, command: list[str], shown: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=site.parent.parent,
        env={"PYTHONPATH": str(site), "OTEL_METRICS_EXPORTER": "none"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == shown


def test_a_script_of_two_lines() -> None:
    program = """
import functools
@functools.lru_cache
def before(item): return item
tap = metertap.instrument(json_endpoint=False, prometheus=False)
@functools.cache
def after(item): return item
before(1), after(1), after(1)
print(json.dumps({n: [c["hits"], c["misses"]] for n, c in tap.snapshot()["cache_metrics"].items()}))
"""
    assert ran(program) == {"__main__.before": [0, 1], "__main__.after": [1, 1]}


def test_a_forked_child_counts_from_zero_and_finds_what_is_new() -> None:
    program = """
import functools
tap = metertap.instrument(json_endpoint=False, prometheus=False)
def seen():
    return {n: [c["hits"], c["misses"]] for n, c in tap.snapshot()["cache_metrics"].items()}
@functools.cache
def price(item): return item
price(1), seen()
def child():
    before = seen()
    price(1)
    @functools.cache
    def later(): ...
    later()
    return [before, seen()]
print(json.dumps([in_child(child), seen()]))
"""
    assert ran(program) == [
        [
            {"__main__.price": [0, 0]},
            {"__main__.price": [1, 0], "__main__.child.<locals>.later": [0, 1]},
        ],
        {"__main__.price": [0, 1]},
    ]
