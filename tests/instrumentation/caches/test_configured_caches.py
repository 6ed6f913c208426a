"""The program's own caches, by lines of the configuration file."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from kits.cache_kit import SENTINEL, CacheKit
from metertap import faults
from metertap.runtime.tap import active_tap
from metertap.settings import settings
from support.own_caches_shop import SHOP
from support.own_program import importable
from support.warned import warnings_of


@pytest.fixture(autouse=True)
def shop_is_importable(tmp_path: Path) -> Iterator[None]:
    with importable("cfgshop.cache", SHOP, tmp_path):
        yield


def configured(**lines: str) -> None:
    """Write the file: attribute of the module (`__` for a dot) → its table."""
    text = "".join(
        f'"cfgshop.cache:{target.replace("__", ".", 1)}" = {table}\n'
        for target, table in lines.items()
    )
    Path("pyproject.toml").write_text(f"[tool.metertap.caches]\n{text}")


def shop() -> Any:
    return importlib.import_module("cfgshop.cache")


def caches() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["cache_metrics"]
    return found


def counted(name: str = "files") -> tuple[int, int]:
    return caches()[name]["hits"], caches()[name]["misses"]


class TestKit(CacheKit):
    system = "configured"

    @pytest.fixture(autouse=True)
    def measured(self, shop_is_importable: None) -> Iterator[metertap.Tap]:
        configured(
            Cache__get='{ miss = "default" }',
            Cache__put='{ counts = "rejections", when = "false" }',
            Cache___evict='{ counts = "evictions" }',
        )
        with metertap.instrument() as tap:
            yield tap

    def make(self) -> Any:
        return shop().Cache()

    def put(self, cache: Any, key: str, value: Any) -> None:
        cache.put(key, value)

    def get(self, cache: Any, key: str) -> Any:
        return cache.get(key, SENTINEL)

    def get_default(self, cache: Any, key: str, default: Any) -> Any:
        return cache.get(key, default=default)

    def evict(self, cache: Any) -> int:
        for number in range(5):
            cache.put(f"k{number}", number)
        return 2

    def reject(self, cache: Any) -> None:
        assert cache.put("a", "longer than three") is False

    def clear(self, cache: Any) -> None:
        cache.items.clear()


def absent(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except KeyError:
        return KeyError


@pytest.mark.parametrize(
    ("attribute", "miss", "look"),
    [
        ("Cache__get", '{ name = "files" }', lambda cache, key: cache.get(key)),
        ("Cache__get", '{ name = "files", miss = "none" }', lambda cache, key: cache.get(key)),
        (
            "Cache__get",
            '{ name = "files", miss = "default" }',
            lambda cache, key: cache.get(key, 5),
        ),
        (
            "Cache__get",
            '{ name = "files", miss = "default" }',
            lambda cache, key: type(cache).get(cache, key, 5),
        ),
        ("Cache__fetch", '{ name = "files", miss = "raises:KeyError" }', None),
        ("Cache__fetch", '{ name = "files", miss = "raises:builtins.LookupError" }', None),
        ("Cache__find", '{ name = "files", miss = "empty" }', lambda cache, key: cache.find(key)),
        (
            "Cache__aget",
            '{ name = "files", miss = "default" }',
            lambda cache, key: asyncio.run(cache.aget(key, default=5)),
        ),
        (
            "Cache__afetch",
            '{ name = "files", miss = "raises:KeyError" }',
            lambda cache, key: absent(lambda: asyncio.run(cache.afetch(key))),
        ),
        (
            "Cache__relayed",
            '{ name = "files" }',
            lambda cache, key: asyncio.run(cache.relayed(key)),
        ),
        ("Derived__get", '{ name = "files" }', lambda cache, key: cache.get(key)),
        ("chained", '{ name = "files" }', lambda cache, key: shop().chained(cache, key)),
    ],
)
@pytest.mark.parametrize("imported", ["before", "after"])
def test_each_kind_of_miss(attribute: str, miss: str, look: Any, imported: str) -> None:
    configured(**{attribute: miss})
    look = look or (lambda cache, key: absent(lambda: cache.fetch(key)))
    if imported == "before":
        shop()
    with metertap.instrument():
        cache = shop().Derived()
        cache.put("a", 1)
        found = [look(cache, "a"), look(cache, "b"), look(cache, "a")]
        assert counted() == (2, 1)
        assert caches()["files"]["system"] == "configured"
    assert found == [look(cache, "a"), look(cache, "b"), look(cache, "a")]
    assert counted() == (2, 1)


def test_another_exception_is_neither_a_hit_nor_a_miss_and_passes_unchanged() -> None:
    configured(
        Cache__fetch='{ name = "files", miss = "raises:KeyError" }',
        Cache__afetch='{ name = "files", miss = "raises:KeyError" }',
    )
    with metertap.instrument():
        cache = shop().Cache()
        for broken in (
            lambda: cache.fetch([]),
            lambda: asyncio.run(cache.afetch([])),
            lambda: cache.fetch("one", "two"),
        ):
            with pytest.raises(TypeError) as raised:
                broken()
            frames = [str(entry.path) for entry in raised.traceback]
            if sys.version_info >= (3, 11):
                assert not any(path.endswith("configured.py") for path in frames)
        assert caches() == {}


def test_functions_look_as_before_and_coroutines_can_be_given_up(
    recwarn: pytest.WarningsRecorder,
) -> None:
    import inspect

    configured(Cache__aget='{ name = "files" }', lookup="{}")
    plain = inspect.signature(shop().Cache.aget), inspect.signature(shop().lookup)
    with metertap.instrument():
        cache = shop().Cache
        assert (inspect.signature(cache.aget), inspect.signature(shop().lookup)) == plain
        assert inspect.iscoroutinefunction(cache.aget)
        coroutine = cache().aget("a")
        assert (coroutine.__name__, coroutine.__qualname__) == ("aget", "Cache.aget")
        coroutine.close()
    assert not recwarn.list


def test_evictions_one_a_call_or_as_many_as_the_result_says() -> None:
    configured(
        Cache__get='{ name = "files" }',
        Cache___evict='{ name = "files", counts = "evictions" }',
        Cache__shrink='{ name = "files", counts = "evictions", number = "result" }',
    )
    with metertap.instrument():
        cache = shop().Cache()
        for key in "abcd":
            cache.put(key, 1)
        assert cache.shrink(1) == ["c", "d"]
        assert cache.shrink(1) == []
        cache.items.clear()
        with pytest.raises(StopIteration):
            cache._evict()
        assert (caches()["files"]["evictions"], caches()["files"]["size_rejections"]) == (3, None)
        assert counted() == (0, 0)


@pytest.mark.parametrize(
    ("attribute", "when"),
    [
        ("Cache__put", ', when = "false"'),
        ("Cache__strict", ', when = "raises:ValueError"'),
        ("Cache__strict", ', when = "raises:cfgshop.cache.Full"'),
        ("Full____init__", ""),
    ],
)
def test_rejections(attribute: str, when: str) -> None:
    configured(**{attribute: f'{{ name = "files", counts = "rejections"{when} }}'})
    with metertap.instrument():
        cache = shop().Cache()
        cache.strict("a", 1)
        with pytest.raises(shop().Full):
            cache.strict("a", "too long")
        with pytest.raises(TypeError):
            cache.strict()
        assert (caches()["files"]["evictions"], caches()["files"]["size_rejections"]) == (None, 1)


def test_without_a_name_caches_are_called_as_all_caches_are() -> None:
    configured(
        Cache__get="{}", Cache__of_all="{}", Cache__of_none="{}", Slotted__get="{}", lookup="{}"
    )
    with metertap.instrument():
        module = shop()
        given, unbound = module.Cache(), module.Cache()
        metertap.name_cache(given, "sessions")
        for cache in (given, unbound, module.sessions, module.Slotted()):
            cache.get("a")
        module.Cache.of_all("a")
        module.Cache.of_none("a")
        assert [module.lookup("absent"), module.lookup("a")] == [None, "a"]
        found = {name: (item["hits"], item["misses"]) for name, item in caches().items()}
        assert all(item["evictions"] is None for item in caches().values())
    assert found == {
        "sessions": (0, 1),
        "cfgshop.cache.Cache": (0, 2),
        "cfgshop.cache.sessions": (0, 1),
        "cfgshop.cache.Slotted": (0, 1),
        "cfgshop.cache.Cache.of_none": (0, 1),
        "cfgshop.cache.lookup": (1, 1),
    }


def test_one_lookup_through_two_lines_is_counted_at_the_outermost() -> None:
    configured(Cache__aget='{ name = "outer" }', Cache__get='{ name = "inner" }')
    with metertap.instrument():
        asyncio.run(shop().Cache().aget("a"))
        assert set(caches()) == {"outer"}


def test_a_generator_is_no_lookup(caplog: pytest.LogCaptureFixture) -> None:
    configured(Cache__every='{ name = "files" }')
    with metertap.instrument():
        assert list(shop().Cache().every()) == []
        assert caches() == {}
    assert warnings_of(caplog) == [
        "configured cache cfgshop.cache:Cache.every: a generator does not say what it is "
        "(told once)"
    ]
    assert faults.fault_counts() == {}


def test_a_result_that_cannot_be_read_counts_nothing_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configured(lookup='{ name = "files", counts = "evictions", number = "result" }')
    with metertap.instrument():
        for _ in range(2):
            assert shop().lookup("absent") is None
        assert caches() == {}
    assert warnings_of(caplog) == [
        "configured cache cfgshop.cache:lookup: TypeError in reading a result, which counts "
        "nothing (told once)"
    ]
    assert faults.fault_counts() == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('"cfgshop.cache" = {}', "a target is written"),
        ('"cfgshop.cache:Cache.get()" = {}', "a target is written"),
        ('"cfgshop.cache:Cache.get" = "none"', "a table is needed"),
        ('"cfgshop.cache:Cache.get" = { mis = "none" }', "mis is no key; did you mean miss?"),
        ('"cfgshop.cache:Cache.get" = { miss = "nothing" }', "miss = 'nothing' is unknown"),
        ('"cfgshop.cache:Cache.get" = { miss = ["none"] }', "miss = ['none'] is unknown"),
        ('"cfgshop.cache:Cache.get" = { miss = "raises:" }', "miss = 'raises:' is unknown"),
        ('"cfgshop.cache:Cache.get" = { miss = "true" }', "miss = 'true' is unknown"),
        ('"cfgshop.cache:Cache.get" = { when = "none" }', "when and number are for counts"),
        ('"cfgshop.cache:Cache.get" = { counts = "hits" }', "counts = 'hits' is unknown"),
        ('"cfgshop.cache:Cache.get" = { name = "" }', "a name is a text"),
        ('"cfgshop.cache:Cache.get" = { name = 5 }', "a name is a text"),
        (
            '"cfgshop.cache:Cache.get" = { counts = "evictions", miss = "none" }',
            "miss is for lookups",
        ),
        (
            '"cfgshop.cache:Cache.put" = { counts = "rejections", number = "result" }',
            "number is for evictions",
        ),
        ('"cfgshop.cache:lookup" = { counts = "evictions" }', "a name is needed"),
        ('"cfgshop.cache:Cache.nowhere" = {}', "cfgshop.cache:Cache.nowhere does not exist"),
        ('"cfgshop.cache:Nowhere.get" = {}', "cfgshop.cache:Nowhere.get does not exist"),
        ('"cfgshop.cache:LIMIT" = {}', "cfgshop.cache:LIMIT is no function"),
        ('"cfgshop.cache:Cache" = {}', "cfgshop.cache:Cache is no function"),
        ('"cfgshop.cache:Cache.size" = {}', "cfgshop.cache:Cache.size is no function"),
    ],
)
def test_a_line_that_is_wrong_is_one_warning_and_takes_no_other_with_it(
    line: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = '"cfgshop.cache:Cache.find" = { name = "files", miss = "empty" }'
    Path("pyproject.toml").write_text(f"[tool.metertap.caches]\n{line}\n{good}\n")
    with metertap.instrument() as tap:
        shop().Cache().find("a")
        assert counted() == (0, 1)
        assert (shop().LIMIT, shop().Cache().size) == (5, 0)
        patches = _own_caches(tap)
        assert sorted(patch["state"] for patch in patches) == ["failed", "installed"]
        (problem,) = (patch["problem"] for patch in patches if patch["problem"])
    (warning,) = warnings_of(caplog)
    assert why in warning
    assert warning.startswith("[tool.metertap.caches] ")
    assert why in problem
    assert faults.fault_counts() == {}


def _own_caches(tap: metertap.Tap) -> Any:
    report = json.loads(json.dumps(tap.diagnosis()))
    (item,) = (
        item for item in report["instrumentations"] if item["library"] == "[tool.metertap.caches]"
    )
    return item["patches"]


def test_a_module_that_is_not_imported_waits_and_a_broken_one_is_the_programs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cfgshop" / "broken.py").write_text("1 / 0")
    Path("pyproject.toml").write_text(
        '[tool.metertap.caches]\n"cfgshop.broken:get" = {}\n"cfgshop.later:get" = {}\n'
    )
    with metertap.instrument() as tap:
        with pytest.raises(ZeroDivisionError):
            importlib.import_module("cfgshop.broken")
        assert [patch["state"] for patch in _own_caches(tap)] == ["waiting", "waiting"]
        assert "cfgshop.later" not in sys.modules
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("text", ["[tool.metertap]\ncaches = 5", "[[tool.metertap.caches]]\na = 1"])
def test_what_is_no_table_is_one_warning(text: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("pyproject.toml").write_text(text)
    assert settings.read().caches == {}
    (warning,) = warnings_of(caplog)
    assert warning.startswith("caches in pyproject.toml=")
    assert warning.endswith("(a table is needed); {} is used instead")


def test_switched_off_and_undone() -> None:
    configured(Cache__get='{ name = "files" }')
    original = shop().Cache.__dict__["get"]
    with metertap.instrument():
        assert shop().Cache.__dict__["get"] is not original
    assert shop().Cache.__dict__["get"] is original
    for options in ({"disabled_instrumentations": ["configured"]}, {"enabled": False}):
        with metertap.instrument(**options):
            assert shop().Cache.__dict__["get"] is original
    metertap.reset()
    Path("pyproject.toml").write_text("")
    with metertap.instrument() as tap:
        assert shop().Cache.__dict__["get"] is original
        libraries = [item["library"] for item in tap.diagnosis()["instrumentations"]]
        assert "[tool.metertap.caches]" not in libraries
    assert active_tap() is None
