"""LangChain's caches of model answers: as they are, and as models use them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import weakref
from typing import Any

import pytest

import metertap
from kits.cache_kit import SENTINEL, CacheKit

caches: Any = pytest.importorskip("langchain_core.caches")
from langchain_core.language_models import FakeListLLM  # noqa: E402
from langchain_core.outputs import Generation  # noqa: E402

pytestmark = pytest.mark.library("langchain")

MODEL = "a model"


class Backend(caches.BaseCache):  # type: ignore[misc]
    """As backends are: with a `lookup` of its own and the default `alookup`."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}

    def lookup(self, prompt: str, llm_string: str) -> Any:
        return self.answers.get((prompt, llm_string))

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        self.answers[prompt, llm_string] = return_val

    def clear(self, **_kwargs: Any) -> None:
        self.answers.clear()


class Layered(Backend):
    """A backend in front of another."""

    def __init__(self, behind: Any) -> None:
        super().__init__()
        self.behind = behind

    def lookup(self, prompt: str, llm_string: str) -> Any:
        return super().lookup(prompt, llm_string) or self.behind.lookup(prompt, llm_string)


class Kit(CacheKit):
    system = "langchain"
    keeps_none = False

    def put(self, cache: Any, key: str, value: Any) -> None:
        cache.update(key, MODEL, [Generation(text="", generation_info={"value": value})])

    def get(self, cache: Any, key: str) -> Any:
        return self.value(cache.lookup(key, MODEL))

    def value(self, answer: Any) -> Any:
        return SENTINEL if answer is None else answer[0].generation_info["value"]

    def clear(self, cache: Any) -> None:
        cache.clear()


class TestInMemory(Kit):
    def make(self) -> Any:
        return caches.InMemoryCache()


class TestInMemoryAsync(TestInMemory):
    def get(self, cache: Any, key: str) -> Any:
        return self.value(asyncio.run(cache.alookup(key, MODEL)))


class TestBackend(Kit):
    def make(self) -> Any:
        return Backend()


class TestBackendAsync(TestBackend):
    """The default `alookup` asks `lookup` in another thread."""

    def get(self, cache: Any, key: str) -> Any:
        return self.value(asyncio.run(cache.alookup(key, MODEL)))


class TestLayered(Kit):
    def make(self) -> Any:
        return Layered(Backend())

    def test_only_the_outermost_cache_counts(self, cache: Any) -> None:
        metertap.name_cache(cache.behind, "behind")
        self.put(cache.behind, "a", 1)
        assert self.get(cache, "a") == 1
        assert self.get(cache, "b") is SENTINEL
        assert self.counted() == (1, 1)
        assert "behind" not in metertap.get_all_metrics()["cache_metrics"]


class TestDefinedLater(Kit):
    def make(self) -> Any:
        class Later(Backend):
            def lookup(self, prompt: str, llm_string: str) -> Any:
                return self.answers.get((prompt, llm_string))

            async def alookup(self, prompt: str, llm_string: str) -> Any:
                return self.lookup(prompt, llm_string)

        return Later()

    pickles = False

    def test_in_a_task_too(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert inspect.iscoroutinefunction(cache.alookup)
        assert self.value(asyncio.run(cache.alookup("a", MODEL))) == 1
        assert self.counted() == (1, 0)

    def test_the_class_is_not_kept_alive(self) -> None:
        cls = weakref.ref(type(self.make()))
        gc.collect()
        assert cls() is None

    def test_the_class_is_left_as_it_was(self, measured: metertap.Tap) -> None:
        cls = type(self.make())
        measured.shutdown()
        assert type(vars(cls)["lookup"]) is type(Backend.__init__)
        assert "__init_subclass__" not in vars(caches.BaseCache)


class Failing(Backend):
    def lookup(self, prompt: str, llm_string: str) -> Any:
        raise ConnectionError(prompt)


def test_a_backend_that_fails_is_neither_hit_nor_miss() -> None:
    with metertap.instrument(json_endpoint=False):
        cache = Failing()
        with pytest.raises(ConnectionError) as caught:
            cache.lookup("a", MODEL)
        if sys.version_info >= (3, 11):
            assert [entry.name for entry in caught.traceback][1:] == ["lookup"]
        with pytest.raises(ConnectionError):
            asyncio.run(cache.alookup("a", MODEL))
        assert metertap.get_all_metrics()["cache_metrics"] == {}


def test_a_class_keyword_that_nobody_takes_fails_as_before() -> None:
    with (
        metertap.instrument(),
        pytest.raises(TypeError, match=r"__init_subclass__.* takes no keyword"),
    ):
        type("Odd", (Backend,), {}, flavour=1)


answers = caches.InMemoryCache()


def test_a_model_that_asks_its_cache() -> None:
    with metertap.instrument(json_endpoint=False):
        model = FakeListLLM(responses=["Paris", "Rome"], cache=answers)
        assert [model.invoke("France?"), model.invoke("France?")] == ["Paris", "Paris"]
        assert asyncio.run(model.ainvoke("France?")) == "Paris"
        assert model.batch(["France?", "Italy?"]) == ["Paris", "Rome"]
        (figures,) = metertap.get_all_metrics()["cache_metrics"].items()
    assert figures[0].endswith("test_langchain.answers")
    assert (figures[1]["hits"], figures[1]["misses"]) == (3, 2)
    assert figures[1]["evictions"] is None
