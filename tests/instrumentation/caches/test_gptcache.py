"""GPTCache, with the data managers that need no server and no model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import pytest

import metertap
from kits.cache_kit import SENTINEL, CacheKit

# Its default data manager reads and writes a file where the program runs, whoever imports it.
gptcache: Any = pytest.importorskip("gptcache")
from gptcache.adapter import adapter, api  # noqa: E402
from gptcache.manager import get_data_manager  # noqa: E402
from gptcache.processor.pre import get_prompt  # noqa: E402

pytestmark = pytest.mark.library("gptcache")


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gptcache")
    Kit.directory = directory
    return directory


class Kit(CacheKit):
    system = "gptcache"
    keeps_none = False
    pickles = False
    directory: Path
    made = 0

    def make(self, **settings: Any) -> Any:
        Kit.made += 1
        cache = gptcache.Cache()
        manager = get_data_manager(data_path=str(self.directory / f"{Kit.made}"))
        cache.init(pre_embedding_func=get_prompt, data_manager=manager, **settings)
        return cache

    def put(self, cache: Any, key: str, value: Any) -> None:
        api.put(key, str(value), cache_obj=cache)

    def get(self, cache: Any, key: str) -> Any:
        found = api.get(key, cache_obj=cache)
        return SENTINEL if found is None else int(found)

    def test_a_cache_is_not_kept_alive_and_what_it_counted_stays(self) -> None:
        pytest.skip("GPTCache itself keeps every cache until the program ends")


class TestGPTCache(Kit):
    def test_the_managers_own_caches_are_no_caches_of_the_programs(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        self.get(cache, "a")
        assert set(metertap.get_all_metrics()["cache_metrics"]) == {"sessions"}

    def test_what_is_not_looked_for_is_no_lookup(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert ask(cache, "a", cache_skip=True) == "new"
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_async_models_count_as_others_do(self, cache: Any) -> None:
        async def main() -> list[Any]:
            return [await aask(cache, "a"), await aask(cache, "a"), await aask(cache, "b")]

        assert asyncio.run(main()) == ["new", "new", "new"]
        assert self.counted() == (1, 2)

    def test_side_by_side_in_tasks(self, cache: Any) -> None:
        self.put(cache, "a", 1)

        async def main() -> None:
            await asyncio.gather(*(aask(cache, "ab"[number % 2]) for number in range(10)))

        asyncio.run(main())
        assert self.counted()[0] >= 5
        assert sum(self.counted()) == 10

    def test_work_that_a_model_begins_counts_what_it_asks_itself(self, cache: Any) -> None:
        contexts: list[Context] = []

        def model(**_options: Any) -> str:
            contexts.append(copy_context())
            return "new"

        assert adapter.adapt(model, str, _keep, prompt="b", cache_obj=cache) == "new"
        assert contexts[0].run(ask, cache, "b") == "new"
        assert self.counted() == (1, 1)

    def test_a_model_that_fails_was_a_miss(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        with pytest.raises(ConnectionError):
            ask(cache, "b", failing=True)
        assert ask(cache, "a") == "1"
        assert self.counted() == (1, 1)

    def test_a_cache_behind_another_counts_what_it_is_asked(self) -> None:
        behind = self.make()
        metertap.name_cache(behind, "behind")
        cache = self.make(next_cache=behind)
        metertap.name_cache(cache, "sessions")
        self.put(behind, "a", 1)
        assert ask(cache, "a") == "1"
        assert self.counted() == (0, 1)
        behind_it = self.figures("behind")
        assert (behind_it["hits"], behind_it["misses"]) == (1, 0)


def ask(cache: Any, prompt: str, failing: bool = False, **options: Any) -> Any:
    """As an adapter of a model does."""

    def model(**_options: Any) -> str:
        if failing:
            raise ConnectionError
        return "new"

    return adapter.adapt(model, str, _keep, prompt=prompt, cache_obj=cache, **options)


async def aask(cache: Any, prompt: str) -> Any:
    async def model(**_options: Any) -> str:
        await asyncio.sleep(0.001)
        return "new"

    return await adapter.aadapt(model, str, _keep, prompt=prompt, cache_obj=cache)


def _keep(answer: Any, update: Any, *_args: Any, **_kwargs: Any) -> Any:
    update(answer)
    return answer


def test_the_global_cache_goes_by_its_name(tmp_path: Path) -> None:
    program = """
import metertap
tap = metertap.instrument()
import gptcache
from gptcache.adapter.api import get, put
from gptcache.processor.pre import get_prompt
gptcache.cache.init(pre_embedding_func=get_prompt)
put("a", "1")
assert (get("a"), get("b")) == ("1", None)
(found,) = metertap.get_all_metrics()["cache_metrics"].items()
print(found[0], found[1]["hits"], found[1]["misses"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert done.stdout == "gptcache.core.cache 1 1\n"
