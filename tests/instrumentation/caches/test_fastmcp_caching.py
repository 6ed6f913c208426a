"""fastmcp's response cache, by its own statistics: with a server and a client in one process."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

import metertap

caching: Any = pytest.importorskip("fastmcp.server.middleware.caching")
from fastmcp import Client, FastMCP  # noqa: E402

pytestmark = [pytest.mark.mcp, pytest.mark.library("fastmcp")]


@pytest.fixture(autouse=True)
def measured() -> Iterator[metertap.Tap]:
    gc.collect()  # servers of other tests would be found
    with metertap.instrument(json_endpoint=False) as tap:
        yield tap


def server(name: str | None, *middleware: Any) -> Any:
    made: Any = FastMCP(name, middleware=middleware)

    @made.tool
    def double(number: int) -> int:
        return 2 * number

    return made


def call(of: Any, *numbers: int) -> None:
    async def main() -> None:
        async with Client(of) as client:
            for number in numbers:
                result = await client.call_tool("double", {"number": number})
                assert result.data == 2 * number

    asyncio.run(main())


def found() -> dict[str, Any]:
    metrics: dict[str, Any] = metertap.get_all_metrics()["cache_metrics"]
    return metrics


def test_after_a_reset_it_is_found_again() -> None:
    shop = server("shop", caching.ResponseCachingMiddleware())
    assert set(found()) == {"shop.responses"}
    metertap.reset()
    assert found() == {}
    with metertap.instrument(json_endpoint=False):
        assert set(found()) == {"shop.responses"}
    assert shop is not None


def test_counting_begins_with_instrument_and_again_after_a_reset() -> None:
    shop = server("shop", caching.ResponseCachingMiddleware(list_tools_settings={"enabled": False}))
    call(shop, 1, 1)
    for forget in (lambda: None, metertap.reset):
        metertap.uninstrument()
        forget()
        before = found().get("shop.responses", {"hits": 0})["hits"]
        call(shop, 1, 1, 1)
        with metertap.instrument(json_endpoint=False):
            call(shop, 1, 1)
            assert found()["shop.responses"]["hits"] == before + 2


def test_it_is_read_and_nothing_below_it_counts() -> None:
    cache = caching.ResponseCachingMiddleware(list_tools_settings={"enabled": False})
    call(server("shop", cache), 1, 1, 2, 1)
    (figures,) = found().items()
    assert figures[0] == "shop.responses"
    assert figures[1]["system"] == "fastmcp"
    assert (figures[1]["hits"], figures[1]["misses"]) == (2, 2)
    assert figures[1]["by_tool"] is None
    assert figures[1]["evictions"] is None
    assert figures[1]["size_rejections"] is None
    get = cache.statistics().call_tool.get
    assert (get.hit, get.miss) == (2, 2)


def test_all_methods_together_and_a_middleware_that_is_added() -> None:
    cache = caching.ResponseCachingMiddleware()
    shop = server("shop")
    shop.add_middleware(cache)
    call(shop, 1, 1)
    statistics = cache.statistics()
    used = [method.get for _, method in statistics if method is not None]
    (figures,) = found().values()
    assert (figures["hits"], figures["misses"]) == (
        sum(get.hit for get in used),
        sum(get.miss for get in used),
    )
    assert figures["hits"] >= 1
    assert statistics.list_tools is None or figures["total_requests"] > 2


def test_names_that_fastmcp_makes_up_are_not_used() -> None:
    keep = server(None, caching.ResponseCachingMiddleware())
    call(keep, 1)
    (name,) = found()
    assert name == "fastmcp.server.middleware.caching.ResponseCachingMiddleware"


def test_a_name_that_is_given() -> None:
    cache = caching.ResponseCachingMiddleware()
    metertap.name_cache(cache, "answers")
    call(server("shop", cache), 1)
    assert set(found()) == {"answers"}


def test_a_server_that_was_there_before(measured: metertap.Tap) -> None:
    measured.shutdown()
    before = server("before", caching.ResponseCachingMiddleware())
    with metertap.instrument(json_endpoint=False):
        call(before, 1, 1)
        assert found()["before.responses"]["hits"] >= 1


def test_it_is_not_kept_alive_and_what_it_counted_stays() -> None:
    shop = server("shop", caching.ResponseCachingMiddleware())
    call(shop, 1, 1)
    counted = found()["shop.responses"]
    del shop
    gc.collect()
    assert not [
        item for item in gc.get_objects() if type(item) is caching.ResponseCachingMiddleware
    ]
    assert found()["shop.responses"] == counted


def test_a_server_without_a_cache_shows_none() -> None:
    call(server("shop"), 1, 1)
    assert found() == {}


def test_a_store_that_is_somebody_elses_works_as_before() -> None:
    from key_value.aio.stores.memory import MemoryStore
    from key_value.aio.wrappers.statistics import StatisticsWrapper

    store = StatisticsWrapper(key_value=MemoryStore())

    async def main() -> None:
        await store.put("a", {"b": 1})
        assert await store.get("a") == {"b": 1}
        assert await store.get("b") is None

    asyncio.run(main())
    assert found() == {}
