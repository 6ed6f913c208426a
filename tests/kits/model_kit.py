"""What holds for every client of models: a test class inherits this.

It says how to make the clients, how to ask, and what the provider answers. All of it goes over HTTP
to a server on this machine, by the real client.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import inspect
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import certifi
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from kits.tool_kit import described, function_of, standing
from metertap import catalogue, state
from servers.model_api import Answer, ModelApi
from support import breaking
from support.metric_data import points
from support.warned import warnings_of

SECRET = "sk-marker-4711"
PRICES = """
[tool.metertap.prices]
test-model = { input = 3, cached = 0.3, cache_write = 3.75, output = 15 }
"""
MODEL = "test-model"

both = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])

MISSING = object()
ODD = (MISSING, -1, 10**400, "x", [1])
"""Values that no count has."""


def parts_of(usage: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Where a usage has something: the usage itself, its counts, its details and theirs."""
    yield ()
    for name, value in usage.items():
        inside = parts_of(value) if isinstance(value, dict) else ((),)
        yield from ((name, *rest) for rest in inside)


def with_part(found: Any, path: tuple[str, ...], value: Any) -> Any:
    """Put `value` in place of what is at `path`, wherever that begins in an answer or events."""
    if isinstance(found, list | tuple):
        return type(found)(with_part(item, path, value) for item in found)
    if not isinstance(found, dict):
        return found
    name, *rest = path
    made = {key: with_part(inside, path, value) for key, inside in found.items()}
    if name in found and rest:
        made[name] = with_part(found[name], tuple(rest), value)
    elif name in found and value is MISSING:
        del made[name]
    elif name in found:
        made[name] = value
    return made


class ModelKit:
    """`ask` and `stream` use a client; the rest says what the server answers and what is right."""

    provider: str
    instrumentation: Any
    modules: tuple[str, ...] = ()
    counts: ClassVar[dict[str, int]]
    """Tokens of each answer by the document's names."""
    cut_counts: ClassVar[dict[str, int]]
    """Tokens that a stream has reported when it is cut off."""
    retries = True
    """Whether the client tries again what failed."""
    asks_when_read = False
    """Whether a stream may be asked for when it is first read."""
    can_close = True
    """Whether a stream can be closed by the program."""
    estimates = False
    """Whether the client itself estimates what a stream used that does not say so."""
    walks = True
    """Whether each function of ours is made to fail: not for what passes no other functions."""
    usage_at: ClassVar[tuple[str, str]] = ("usage", "")
    """Where the answer has its usage, and in that a count."""

    def client(self, url: str, *, is_async: bool) -> Any:
        raise NotImplementedError

    def ask(self, client: Any, text: str) -> Any:
        """Ask for a whole answer; awaited where the client is async."""
        raise NotImplementedError

    def stream(self, client: Any, text: str) -> Any:
        """Ask for a stream; awaited where the client is async."""
        raise NotImplementedError

    def answer(self) -> Any:
        """The body of a whole answer."""
        raise NotImplementedError

    def events(self) -> list[Any]:
        """The events of a streamed answer."""
        raise NotImplementedError

    def cut_events(self) -> list[Any]:
        """The events that come before the stream is cut off."""
        return self.events()[:1]

    def error(self) -> Any:
        """The body of an answer that is an error."""
        return {"error": {"message": "no", "type": "bad"}}

    def said(self, answers: Any) -> str:
        """Answers, or items of streams, without what differs from one time to the next."""
        return repr(answers)

    # What the tests use

    @pytest.fixture(autouse=True)
    def api(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelApi]:
        for name in self.modules:  # before anything is patched, whichever test is the first
            importlib.import_module(name)
        (tmp_path / "metertap.toml").write_text(PRICES)
        monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
        # Nothing here is encrypted, and to read every authority there is takes a client long.
        whole = Path(certifi.where()).read_text(encoding="utf-8")
        first = whole[whole.index("-----BEGIN") : whole.index("-----END CERTIFICATE-----") + 26]
        (tmp_path / "one.pem").write_text(first)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one.pem"))
        with ModelApi().serving() as api:
            api.says(Answer(self.answer()))
            yield api

    @pytest.fixture(autouse=True)
    def measured(self, api: ModelApi) -> Iterator[metertap.Tap]:
        with metertap.instrument(json_endpoint=False) as tap:
            yield tap

    def run(self, api: ModelApi, *, is_async: bool, streamed: bool = False, times: int = 1) -> Any:
        """The answers, or for streams their items."""

        async def main() -> list[Any]:
            async with self.opened(api, is_async=is_async) as client:
                answers = []
                for _ in range(times):
                    answer = (self.stream if streamed else self.ask)(client, SECRET)
                    answer = await answer if is_async else answer
                    if streamed and is_async:
                        answer = [item async for item in answer]
                    answers.append(list(answer) if streamed else answer)
                return answers

        return asyncio.run(main())

    @contextlib.asynccontextmanager
    async def opened(self, api: ModelApi, *, is_async: bool) -> AsyncIterator[Any]:
        """A client that is closed at the end."""
        client = self.client(api.url, is_async=is_async)
        try:
            yield client
        finally:
            await self.closed(client)

    def models(self) -> list[dict[str, Any]]:
        found: Any = metertap.get_all_metrics()["cost_metrics"]
        return [] if found is None else list(found["models"])

    def only(self) -> dict[str, Any]:
        (found,) = self.models()
        assert (found["provider"], found["model"]) == (self.provider, MODEL)
        return found

    def cost(self, counts: dict[str, int]) -> Decimal:
        """By hand, at the prices above, in USD."""
        cached, written = counts.get("cached_tokens", 0), counts.get("cache_write_tokens", 0)
        plain = counts["input_tokens"] - cached - written
        sums = 3 * plain + Decimal("0.3") * cached + Decimal("3.75") * written
        return (sums + 15 * counts["output_tokens"]) / 1_000_000

    def check(self, counts: dict[str, int], times: int = 1) -> None:
        found = self.only()
        assert found["calls"] == times
        assert {name: found[name] for name in counts} == {
            name: times * count for name, count in counts.items()
        }
        (series,) = state.recorder().usage_figures()
        assert series.cost == times * self.cost(counts)

    # What follows are the tests.

    @both
    @pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
    def test_each_call_is_counted_once_and_costs_what_it_costs(
        self, is_async: bool, streamed: bool, api: ModelApi, measured: metertap.Tap
    ) -> None:
        api.says(Answer(events=self.events()) if streamed else Answer(self.answer()))
        self.run(api, is_async=is_async, streamed=streamed, times=2)
        self.check(self.counts, 2)
        assert self.only()["failed_calls"] == 0
        assert measured.diagnosis()["faults"] == {}

    @both
    @pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
    def test_the_program_gets_what_it_would_get(
        self, is_async: bool, streamed: bool, api: ModelApi, measured: metertap.Tap
    ) -> None:
        api.says(Answer(events=self.events()) if streamed else Answer(self.answer()))
        found = self.run(api, is_async=is_async, streamed=streamed)
        measured.shutdown()
        unmeasured = self.run(api, is_async=is_async, streamed=streamed)
        assert self.said(found) == self.said(unmeasured)

    @both
    def test_a_stream_is_the_object_that_it_would_be(
        self, is_async: bool, api: ModelApi, measured: metertap.Tap
    ) -> None:
        api.says(Answer(events=self.events()))

        def look() -> tuple[Any, ...]:
            async def main() -> Any:
                async with self.opened(api, is_async=is_async) as client:
                    stream = self.stream(client, SECRET)
                    stream = await stream if is_async else stream
                    names = [name for name in dir(stream) if not name.startswith("__")]
                    await self.closed(stream)
                    return type(stream), sorted(names)

            return tuple(asyncio.run(main()))

        inside = look()
        measured.shutdown()
        assert look() == inside

    async def closed(self, opened: Any) -> None:
        """Close a client, or a stream half-read."""
        done = (opened.aclose if hasattr(opened, "aclose") else opened.close)()
        if done is not None:
            await done

    @both
    def test_a_stream_that_is_cut_off_counts_what_was_reported(
        self, is_async: bool, api: ModelApi, measured: metertap.Tap
    ) -> None:
        api.says(Answer(events=self.cut_events(), is_cut=True))
        raised = []
        for _ in range(2):
            with pytest.raises(Exception) as error:  # noqa: PT011  # the client's own, of any class
                self.run(api, is_async=is_async, streamed=True)
            raised.append((type(error.value), str(error.value)))
            measured.shutdown()
        assert raised[0] == raised[1]
        assert self.only()["failed_calls"] == 1
        if self.cut_counts:
            self.check(self.cut_counts)
        else:
            assert self.only()["unreported_calls"] == 1

    @both
    @pytest.mark.parametrize("how", ["closed", "dropped"])
    def test_a_stream_that_is_left_half_read_is_one_call(
        self, is_async: bool, how: str, api: ModelApi
    ) -> None:
        api.says(Answer(events=self.events()))

        async def main() -> None:
            async with self.opened(api, is_async=is_async) as client:
                stream = self.stream(client, SECRET)
                stream = await stream if is_async else stream
                if is_async:
                    await stream.__anext__()
                else:
                    next(iter(stream))
                if how == "closed":
                    await self.closed(stream)
                    known_later = self.asks_when_read or not self.can_close
                    assert known_later or self.only()["calls"] == 1
                del stream
                gc.collect()  # a client's stream and its generator may refer to one another

        asyncio.run(main())
        found = self.only()
        assert (found["calls"], found["failed_calls"]) == (1, 0)

    @both
    def test_an_error_is_the_clients_own_and_counts_as_failed(
        self, is_async: bool, api: ModelApi, measured: metertap.Tap
    ) -> None:
        api.says(Answer(self.error(), status=400))
        raised = []
        for _ in range(2):
            with pytest.raises(Exception) as error:  # noqa: PT011  # the client's own, of any class
                self.run(api, is_async=is_async)
            raised.append((type(error.value), str(error.value)))
            measured.shutdown()
        assert raised[0] == raised[1]
        (found,) = self.models()
        assert (found["calls"], found["failed_calls"], found["unreported_calls"]) == (1, 1, 1)
        assert found["spent"] is None

    @both
    def test_what_the_client_tries_again_is_one_call(self, is_async: bool, api: ModelApi) -> None:
        if not self.retries:
            pytest.skip("the client does not try again by itself")
        api.says(Answer(self.error(), status=503), Answer(self.answer()))
        self.run(api, is_async=is_async)
        assert len(api.asked) == 2
        self.check(self.counts)

    def test_tools_at_the_same_time_get_their_own_usage(self, api: ModelApi) -> None:
        names = [f"tool {number}" for number in range(30)]

        async def main() -> None:
            async with self.opened(api, is_async=True) as client:

                async def use(name: str) -> None:
                    with metertap.measure_tool(name):
                        for _ in range(1 + len(name) % 2):
                            await self.ask(client, SECRET)

                await asyncio.gather(*map(use, names))

        asyncio.run(main())
        calls = {item["tool"]: item["calls"] for item in self.models()}
        assert calls == {name: 1 + len(name) % 2 for name in names}

    def test_a_stream_is_of_the_tool_that_asked_for_it(self, api: ModelApi) -> None:
        api.says(Answer(events=self.events()))
        client = self.client(api.url, is_async=False)
        with metertap.measure_tool("asks"):
            stream = self.stream(client, SECRET)
        with metertap.measure_tool("reads"):
            list(stream)
        assert self.only()["tool"] in ({"asks", "reads"} if self.asks_when_read else {"asks"})

    @pytest.mark.parametrize("value", [None, -1, 10**13, "12", 1.5, [1], True])
    def test_a_usage_that_cannot_be_harms_nobody(
        self, value: object, api: ModelApi, caplog: pytest.LogCaptureFixture
    ) -> None:
        body = json.loads(json.dumps(self.answer()))
        whole, count = self.usage_at
        if value is None:
            del body[whole]
        else:
            body[whole][count] = value
        api.says(Answer(body))
        try:
            self.run(api, is_async=False, times=2)
        except Exception:
            metertap.uninstrument()
            with pytest.raises(Exception):  # noqa: B017, PT011  # the client refuses it by itself
                self.run(api, is_async=False)
            pytest.skip("the client refuses it by itself")
        if value in (True, 1.5, "12") and not self.only()["unreported_calls"]:
            return  # the client has made a number of it
        assert (self.only()["calls"], self.only()["unreported_calls"]) == (2, 2)
        assert self.only()["input_tokens"] == 0
        assert len(warnings_of(caplog)) == 1

    def test_no_part_of_a_usage_that_cannot_be_is_half_counted(
        self, api: ModelApi, measured: metertap.Tap, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each part of it, each wrong value, whole and streamed, plain and async in turn."""
        whole, count = self.usage_at
        kinds = itertools.cycle(itertools.product((False, True), repeat=2))
        cases = list(
            zip(itertools.product(parts_of(self.answer()[whole]), ODD), kinds, strict=False)
        )

        async def use(client: Any, streamed: bool) -> Any:
            found = (self.stream if streamed else self.ask)(client, SECRET)
            found = await found if inspect.isawaitable(found) else found
            if not streamed:
                return found
            return [item async for item in found] if hasattr(found, "__aiter__") else list(found)

        async def walk(after: Callable[[Any], None]) -> list[Any]:
            outcomes = []
            async with (
                self.opened(api, is_async=False) as plain,
                self.opened(api, is_async=True) as other,
            ):
                for (path, value), (streamed, is_async) in cases:
                    answer = self.events() if streamed else self.answer()
                    answer = with_part(answer, (whole, *path), value)
                    api.says(Answer(events=answer) if streamed else Answer(answer))
                    outcome: Any
                    try:
                        outcome = self.said([await use(other if is_async else plain, streamed)])
                    except Exception as error:
                        told = str(error)  # litellm's has the time in it, and a traceback
                        outcome = type(error), told[:60], told.count("File ")
                    outcomes.append(outcome)
                    after((path, value, streamed, is_async))
            return outcomes

        def check(case: Any) -> None:
            found = self.only()
            assert found["calls"] == 1, case
            counts = {name: found[name] for name in ("input_tokens", "output_tokens")}
            is_unknown = found["unreported_calls"] == 1 and not any(counts.values())
            is_left_out = case[1] is MISSING and case[0] not in ((), (count,))  # may mean zero
            is_estimate = self.estimates and not case[0] and case[2]
            # A client may refuse a later event; until then the provider has reported something.
            is_refused = found["failed_calls"] == 1
            is_whole = counts == {name: self.counts[name] for name in counts}
            assert is_unknown or is_whole or is_left_out or is_refused or is_estimate, case
            metertap.reset_metrics()

        with caplog.at_level(logging.WARNING):
            inside = asyncio.run(walk(check))
        assert measured.diagnosis()["faults"] == {}
        assert len(warnings_of(caplog)) == 1
        measured.shutdown()
        plain = asyncio.run(walk(lambda case: None))
        differing = [pair for pair in zip(inside, plain, strict=True) if pair[0] != pair[1]]
        assert not differing, differing[0]

    def test_nothing_that_is_said_is_kept(
        self,
        api: ModelApi,
        measured: metertap.Tap,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with caplog.at_level(logging.DEBUG, logger="metertap"):
            self.run(api, is_async=False)
            api.says(Answer(self.error(), status=400))
            with contextlib.suppress(Exception):
                self.run(api, is_async=False)
        assert SECRET in json.dumps(api.asked)
        said = [record.getMessage() for record in caplog.records if record.name == "metertap"]
        kept = json.dumps([metertap.get_all_metrics(), said], default=str)
        assert SECRET not in kept + str(measured.diagnosis())
        assert "answered" not in kept
        assert capsys.readouterr().out == ""

    @pytest.mark.faults
    def test_a_fault_anywhere_in_ours_reaches_nobody(self, api: ModelApi) -> None:
        if not self.walks:
            pytest.skip("another class walks the same functions")
        # One client, since making one takes most of the time.
        with contextlib.ExitStack() as stack:
            client = self.client(api.url, is_async=False)
            stack.callback(getattr(client, "close", lambda: None))

            def use() -> str:
                api.says(Answer(self.answer()))
                answers = [self.said([self.ask(client, SECRET)])]
                api.says(Answer(events=self.events()))
                return "".join([*answers, self.said([list(self.stream(client, SECRET))])])

            def count() -> dict[str, int]:
                gc.collect()  # a stream that a fault has left open counts when it is dropped
                (found,) = self.models()
                return {name: found[name] for name in ("calls", *self.counts)}

            problems = breaking.walk(use, count=count)
        assert not problems, problems

    def test_metrics_are_those_of_the_convention(self, api: ModelApi) -> None:
        metertap.uninstrument()
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        with metertap.instrument(json_endpoint=False, meter_provider=provider):
            with metertap.measure_tool("asks"):
                self.run(api, is_async=False)
            tokens = {
                point.attributes[catalogue.TOKEN_TYPE]: point
                for point in points(reader, catalogue.TOKEN_USAGE.name)
            }
            assert {kind: point.sum for kind, point in tokens.items()} == {
                kind: self.counts[f"{kind}_tokens"]
                for kind in ("input", "output")
                if self.counts[f"{kind}_tokens"]
            }
            attributes = tokens["input"].attributes
            assert attributes[catalogue.PROVIDER_NAME] == self.provider
            assert attributes[catalogue.REQUEST_MODEL] == MODEL
            assert attributes[catalogue.RESPONSE_MODEL] == MODEL
            assert attributes[catalogue.TOOL_NAME] == "asks"
            assert attributes[catalogue.OPERATION_NAME]
            assert tuple(tokens["input"].explicit_bounds) == catalogue.TOKEN_USAGE.buckets
            (duration,) = points(reader, catalogue.MODEL_DURATION.name)
            assert duration.count == 1
            (cost,) = points(reader, catalogue.TOOL_COST.name)
            assert cost.value == float(self.cost(self.counts))
            assert cost.attributes[catalogue.TOOL_NAME] == "asks"

    def test_of_a_call_that_failed_no_model_is_said_to_have_responded(self, api: ModelApi) -> None:
        metertap.uninstrument()
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        with metertap.instrument(json_endpoint=False, meter_provider=provider):
            api.says(Answer(self.error(), status=400))
            with pytest.raises(Exception):  # noqa: B017, PT011  # the client's own, of any class
                self.run(api, is_async=False)
            (duration,) = points(reader, catalogue.MODEL_DURATION.name)
            assert duration.attributes[catalogue.ERROR_TYPE]
            assert duration.attributes[catalogue.REQUEST_MODEL] == MODEL
            assert catalogue.RESPONSE_MODEL not in duration.attributes
            assert points(reader, catalogue.TOKEN_USAGE.name) == []

    def test_beside_another_instrumentation_nothing_is_there_twice(self, api: ModelApi) -> None:
        metertap.uninstrument()
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        other = provider.get_meter("opentelemetry.instrumentation.other").create_histogram(
            catalogue.TOKEN_USAGE.name, unit="{token}"
        )
        with metertap.instrument(json_endpoint=False, meter_provider=provider) as tap:
            self.run(api, is_async=False)
            other.record(7)
            assert [point.sum for point in points(reader, catalogue.TOKEN_USAGE.name)] == [7]
            assert points(reader, catalogue.MODEL_DURATION.name) == []
            assert [point.value for point in points(reader, catalogue.TOOL_COST.name)] == [
                float(self.cost(self.counts))
            ]
            self.check(self.counts)
            notes = [note for note in tap.diagnosis()["notes"] if "other" in note]
            assert len(notes) == 1

    def test_before_and_after_nothing_is_counted(
        self, api: ModelApi, measured: metertap.Tap
    ) -> None:
        self.run(api, is_async=False)
        measured.shutdown()
        self.run(api, is_async=False)
        self.check(self.counts)
        with metertap.instrument(enabled=False, json_endpoint=False):
            self.run(api, is_async=False)
        with metertap.instrument(json_endpoint=False):
            self.run(api, is_async=False)
            self.check(self.counts, 2)

    def test_what_is_patched_looks_the_same_and_is_put_back(self, measured: metertap.Tap) -> None:
        for module in self.modules:
            importlib.import_module(module)
        sets = self.instrumentation.patch_sets
        paths = [path for item in sets for path in item.bound]
        assert {item.status for item in sets} <= {"installed", "waiting"}
        assert paths
        inside = {path: (standing(path), described(path)) for path in paths}
        measured.shutdown()
        for path, (stand_in, description) in inside.items():
            original = getattr(function_of(stand_in), "__wrapped__", None)
            assert function_of(standing(path)) in {original, None}
            assert described(path) == description
