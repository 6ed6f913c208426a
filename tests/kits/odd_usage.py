"""A usage that no provider can mean is counted as unknown, whole, and harms nobody."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import metertap
from kits.model_client import SECRET, ModelClient
from servers.model_api import Answer, ModelApi
from support.warned import warnings_of

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


class OddUsage(ModelClient):
    """Each count that cannot be, at each place of an answer and of a stream's events."""

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
