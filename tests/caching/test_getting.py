"""The function that counts a method `get(key, default)` with the method's own parameters."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.caching.layers import by, counting

diskcache = pytest.importorskip("diskcache")
pytestmark = [pytest.mark.library, pytest.mark.interpreter]


@pytest.fixture(autouse=True)
def measured() -> Iterator[metertap.Tap]:
    with metertap.instrument(json_endpoint=False) as tap:
        yield tap


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Any]:
    with diskcache.Cache(tmp_path / "shop") as made:
        made["held"] = 1
        yield made


def counted() -> dict[str, tuple[int, int]]:
    found = metertap.get_all_metrics()["cache_metrics"].items()
    return {name: (item["hits"], item["misses"]) for name, item in found}


def test_it_has_the_parameters_of_the_method_and_its_defaults() -> None:
    stands = inspect.signature(diskcache.Cache.get, follow_wrapped=False)
    assert stands == inspect.signature(diskcache.Cache.get.__wrapped__)


def test_every_way_of_asking_is_one_lookup(cache: Any) -> None:
    assert cache.get("held") == 1
    assert cache.get("held", default=2) == 1
    assert cache.get("none") is None
    assert cache.get("none", 2) == 2
    assert cache.get("none", default=2, read=True) == 2
    assert cache.get("held", None, False, True) == (1, None)
    assert cache.get("none", 2, tag=True, expire_time=True) == (2, None, None)
    assert list(counted().values()) == [(3, 4)]


@pytest.mark.parametrize("keys", [["held", "none"], ["none", "held"]])
def test_one_hit_and_one_miss_in_either_order(cache: Any, keys: list[str]) -> None:
    for key in keys:
        cache.get(key)
    assert list(counted().values()) == [(1, 1)]


def test_a_layer_above_counts_alone(cache: Any) -> None:
    with counting("another"):
        assert cache.get("held") == 1
        assert cache.get("none", 2) == 2
        assert by() == "another"
    assert counted() == {}


def test_lookups_before_a_tool_in_it_and_after_it(cache: Any) -> None:
    @metertap.tool
    def ask(key: str) -> Any:
        return cache.get(key)

    for look in (cache.get, ask, cache.get):
        look("held")
        look("none")
    (item,) = metertap.get_all_metrics()["cache_metrics"].values()
    assert (item["hits"], item["misses"]) == (3, 3)
    assert [(of["hits"], of["misses"]) for of in item["by_tool"].values()] == [(1, 1)]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the frame stays on Python 3.10")
@pytest.mark.parametrize("within", [False, True])
def test_what_the_method_raises_has_no_frame_of_ours(cache: Any, within: bool) -> None:
    with counting() if within else counting(None), pytest.raises(TypeError) as raised:
        cache.get(memoryview(b""))
    files = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert files[0] == __file__
    assert not [file for file in files if "metertap" in Path(file).name]


def test_arguments_that_do_not_fit_raise_what_the_method_would(cache: Any) -> None:
    def told(get: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        with pytest.raises(TypeError) as raised:
            get(cache, *args, **kwargs)
        return str(raised.value)

    ours, plain = diskcache.Cache.get, diskcache.Cache.get.__wrapped__
    for args, kwargs in (((), {}), ((1,), {"wrong": 1}), ((1,) * 9, {})):
        assert told(ours, *args, **kwargs) == told(plain, *args, **kwargs)
    assert counted() == {}


@pytest.mark.faults
def test_without_a_meter_the_caller_gets_its_own_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_cache: Any) -> Any:
        raise RuntimeError("no meter")

    get = diskcache.Cache.get
    (cell,) = (
        cell
        for name, cell in zip(get.__code__.co_freevars, get.__closure__, strict=True)
        if name.endswith("meter_of")
    )
    monkeypatch.setattr(cell, "cell_contents", broken)
    with diskcache.Cache(tmp_path / "another") as cache:
        assert cache.get("none", 2) == 2
        cache["held"] = 1
        assert cache.get("held") == 1
    assert faults.fault_counts() == {"diskcache": 2}


def test_a_shard_counts_on_while_its_whole_is_gone(tmp_path: Path) -> None:
    fanout = diskcache.FanoutCache(tmp_path / "whole", shards=1)
    (shard,) = fanout._shards
    fanout.get("none")
    shard.get("none")
    assert counted() == {f"{tmp_path.name}/whole": (0, 2)}
    del fanout
    shard.get("none")
    assert sum(misses for _, misses in counted().values()) == 3
    shard.close()
