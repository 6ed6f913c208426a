"""`[tool.metertap.alerts]`: defaults, exceptions, and one message for each key that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from metertap.alerts.thresholds import BadThresholds, Thresholds, read


def test_nothing_given_is_the_defaults() -> None:
    assert read({}) == Thresholds()


def test_a_key_at_the_top_is_everyones_default_and_a_table_of_its_own_differs_from_it() -> None:
    found = read(
        {
            "error_rate": 0.1,
            "for": "1h30m",
            "tools": {"search": {"p95_seconds": 2, "no_traffic": "30m"}, "x": {"error_rate": 0.5}},
            "caches": {"prices": {"hit_rate": 0.5}},
        }
    )
    assert found.of_tool("any").error_rate == found.of_tool("search").error_rate == 0.1
    assert found.of_tool("x").error_rate == 0.5
    assert found.of_tool("any").p95_seconds is None
    assert found.of_tool("search").p95_seconds == 2
    assert found.of_tool("search").no_traffic_seconds == 1800
    assert found.of_tool("any").for_seconds == found.of_cache("prices").for_seconds == 5400
    assert found.of_cache("prices").hit_rate == 0.5
    assert found.of_cache("any").hit_rate == 0.1


def test_false_turns_a_threshold_off() -> None:
    found = read(
        {
            "error_rate": False,
            "success_objective": False,
            "hit_rate": False,
            "tools": {"search": {"error_rate": 0.5, "slower_than_last_week": False}},
        }
    )
    assert found.tool.error_rate is None
    assert found.tool.success_objective is None
    assert found.cache.hit_rate is None
    assert found.of_tool("search").error_rate == 0.5
    assert found.of_tool("search").slower_than_last_week is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"error_rate": 5}, "error_rate = 5: a number above 0 and below 1 is needed, or false"),
        ({"error_rate": 0}, "error_rate = 0: "),
        ({"error_rate": True}, "error_rate = true: "),
        ({"error_rate": "5%"}, "error_rate = '5%': "),
        ({"error_rate": float("nan")}, "error_rate = nan: "),
        ({"p95_seconds": 90}, "p95_seconds = 90: a number above 0 and below 81.92 is needed"),
        ({"slower_than_last_week": 1}, "slower_than_last_week = 1: a number above 1 "),
        ({"success_objective": 0.9}, "success_objective = 0.9: a number above 0.935 and below 1"),
        ({"success_objective": 99}, "success_objective = 99: "),
        ({"minimum_calls": 1.5}, "minimum_calls = 1.5: a whole number from 0 "),
        ({"minimum_lookups": -1}, "minimum_lookups = -1: "),
        ({"for": 5}, 'for = 5: a time from "0s" to "4w" is needed, such as "5m"'),
        ({"for": "5 minutes"}, "for = '5 minutes': "),
        ({"window": "0s"}, "window = '0s': a time from \"1s\" "),
        ({"window": "5w"}, "window = '5w': "),
        ({"jobs": "shop"}, "jobs = 'shop': a list of names is needed"),
        ({"runbooks": ""}, "runbooks = '': a text is needed"),
        ({"overflow": 1}, "overflow = 1: true or false is needed"),
        ({"error_rte": 0.1}, "error_rte = 0.1: there is no such key; did you mean error_rate?"),
        ({"no_traffic": "5m"}, "no_traffic = '5m': there is no such key"),
        ({"tools": 5}, "tools = 5: a table is needed"),
        ({"tools": {"search": 5}}, "tools.search = 5: a table is needed"),
        ({"tools": {"a b": {"error_rate": 2}}}, "tools.'a b'.error_rate = 2: "),
        ({"tools": {"search": {"hit_rate": 0.1}}}, "tools.search.hit_rate = 0.1: there is no such"),
        ({"caches": {"x": {"error_rate": 0.1}}}, "caches.x.error_rate = 0.1: there is no such key"),
        ({"for": "9" * 500}, "for = '999"),
        ({"error_rate": 10**400}, "error_rate = 1000"),
        ({"webhok": "https://a:secret@b"}, "webhok = an address: there is no such key"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_key(
    table: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadThresholds) as raised:
        read(table)
    (told,) = raised.value.messages
    assert told.startswith(message)
    assert len(told) < 300


def test_every_key_that_is_wrong_has_a_message_of_its_own() -> None:
    with pytest.raises(BadThresholds) as raised:
        read({"error_rate": 2, "for": "x", "tools": {"a": {"p95_seconds": 0}, "b": 1}})
    keys = {message.partition(" = ")[0] for message in raised.value.messages}
    assert keys == {"error_rate", "for", "tools.a.p95_seconds", "tools.b"}
