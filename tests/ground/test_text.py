"""Figures as text, in columns, sentences and Prometheus's configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from metertap import text

pytestmark = pytest.mark.interpreter

SHOWN: dict[Callable[[Any], str], dict[Any, str]] = {
    text.latency: {
        None: "–   ",
        0.0: "0.00 ms",
        0.0123: "12.3 µs",
        0.123: "0.12 ms",
        9.994: "9.99 ms",
        12.34: "12.3 ms",
        999.4: "999 ms",
        1234.5: "1.23 s ",
        123_456.0: "2.06 m ",
    },
    text.percent: {None: "–", 0.0: "0", 0.01: "<0.1", 33.33: "33.3", 99.97: "99.9", 100.0: "100"},
    text.rate: {None: "–", 0.0: "0", 0.01: "<0.1", 3.14: "3.1", 1234.5: "1234"},
    text.count: {None: "–", 0: "0", 1234567: "1234567"},
    text.size: {None: "–", 1_234_567: "1.23 MB", 999_400_000: "999 MB", 1_500_000_000: "1.50 GB"},
    text.money: {
        None: "–",
        0.0: "$0.00",
        0.5: "$0.50",
        0.25: "$0.25",
        0.1234: "$0.123",
        0.00215: "$0.00215",
        0.9999: "$1.00",
        0.00002: "$2.0e-05",
        1234.5: "$1,234.50",
    },
    text.tool: {"search": "search", "none": "outside tools"},
    text.duration: {
        -1.0: "0 s",
        0.9: "0 s",
        59.9: "59 s",
        60: "1 min 0 s",
        3605: "1 h 0 min",
        90_000: "1 d 1 h",
    },
    text.share: {0.0: "0 %", 0.12: "12 %", 0.9999: "100 %", 0.12345: "12.3 %"},
    text.seconds: {0.25: "250 ms", 2.345: "2.35 s", 1234.5: "1234 s", 0.0000123: "0.0123 ms"},
    text.time_span: {
        0.0: "1 s",
        45: "45 s",
        300: "5 min",
        5400: "1 h 30 min",
        86_405: "1 d 5 s",
        172_800: "2 d",
    },
    text.number: {1 - 0.99: "0.01", 14.4: "14.4", 3.0: "3", 1e-7: "1e-07"},
    text.prometheus_duration: {0: "0s", 90: "1m30s", 5400: "1h30m", 608_400: "7d1h"},
}


@pytest.mark.parametrize("write", SHOWN, ids=lambda write: write.__name__)
def test_a_figure_is_written_as_its_readers_expect(write: Callable[[Any], str]) -> None:
    assert {value: write(value) for value in SHOWN[write]} == SHOWN[write]


@pytest.mark.parametrize(
    "quoted",
    [
        "Authorization: Token hunter2",
        "Proxy-Authorization: Digest username=x, response=hunter2",
        "{'Cookie': 'a=1; b=hunter2'}",
        "[(b'authorization', b'Token hunter2')]",
        'password="my hunter2"',
        "password='a,hunter2'",
        '{\\"password\\": \\"hunter2\\"}',
        "redis://user:pa'hunter2@host/0",
        "user:hunter2@host:5432/db",
        "shop --password hunter2 --verbose",
        "shop --api-key 'my hunter2'",
        "passphrase: hunter2",
        "X-Auth: hunter2",
        "https://host/?sig=hunter2",
        "AccountKey=hunter2",
        "session_id=hunter2",
        "Incorrect API key provided: sk-proj-hunter2hunter2",
        "eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2",
    ],
)
def test_a_secret_that_a_text_quotes_is_hidden_to_its_end(quoted: str) -> None:
    assert "hunter2" not in text.without_secrets(f"it failed: {quoted}")


def test_what_is_no_secret_is_shown() -> None:
    told = (
        "passed: 3, author: Bob, bypass=1, signal=9; --key client.key --token-file FILE cannot be"
    )
    assert text.without_secrets(told) == told


UNITS = ["token", "cookietoken", "-", "//", "a:", "token='", "b\\", "--token ", "--token '", "eyJ"]


@pytest.mark.parametrize("unit", UNITS)
def test_secrets_are_looked_for_in_bounded_time(unit: str) -> None:
    began = time.thread_time()
    text.without_secrets(unit * 20_000)
    assert time.thread_time() - began < 1  # at most 0.01; some took the third power of the length
