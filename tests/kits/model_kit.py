"""What holds for every client of models: a test class inherits this.

It says how to make the clients, how to ask, and what the provider answers
(`kits.model_client.ModelClient`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import logging
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from kits.model_client import MODEL, SECRET, both
from kits.odd_usage import OddUsage
from kits.tool_kit import check_put_back
from metertap import catalogue
from servers.model_api import Answer, ModelApi
from support import breaking
from support.metric_data import points


class ModelKit(OddUsage):
    """What is counted of each call, what it costs, and that the program sees nothing of it."""

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
        check_put_back(self.instrumentation.patch_sets, measured)
