"""The table of prices: equal to the package's own answers to the last digit, and quicker."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap.costs import price_table
from metertap.costs.price_table import PriceTable
from metertap.costs.usage import Usage
from metertap.recording.arithmetic import exact

genai_prices = pytest.importorskip("genai_prices")
data_snapshot = pytest.importorskip("genai_prices.data_snapshot")
NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
MODELS = (
    ("openai", "openai", "gpt-4o-mini"),
    ("openai", "openai", "text-embedding-3-small"),
    ("azure.ai.openai", "azure", "gpt-4o"),
    ("anthropic", "anthropic", "claude-sonnet-4-5"),
    ("gcp.gemini", "google", "gemini-2.5-pro"),
    ("deepseek", "deepseek", "deepseek-chat"),
)
tokens = st.integers(0, 400_000)


@pytest.fixture(scope="module")
def table() -> PriceTable:
    found = PriceTable.installed()
    assert found is not None
    return found


@pytest.mark.parametrize(("provider", "known_as", "model"), MODELS)
@given(whole=tokens, output=tokens, cached=tokens, written=tokens)
def test_a_cost_is_what_the_package_says(
    table: PriceTable,
    provider: str,
    known_as: str,
    model: str,
    whole: int,
    output: int,
    cached: int,
    written: int,
) -> None:
    cached = min(cached, whole)
    written = min(written, whole - cached)
    usage = Usage(whole, output, cached, written)
    asked = genai_prices.Usage(
        input_tokens=whole,
        output_tokens=output,
        cache_read_tokens=cached or None,
        cache_write_tokens=written or None,
    )
    with exact():
        expected = genai_prices.calc_price(
            asked, model, provider_id=known_as, genai_request_timestamp=NOW
        )
        assert table.cost(provider, model, usage, NOW.timestamp()) == expected.total_price


def test_a_tier_of_service_has_its_own_price(table: PriceTable) -> None:
    usage, at = Usage(1_000_000, 1_000_000), datetime(2026, 11, 20, tzinfo=timezone.utc)
    with exact():
        costs = {
            tier: table.cost("openai", "o3", usage, at.timestamp(), tier)
            for tier in ("", "default", "flex")
        }
        for tier, cost in costs.items():
            context = {"price_context": {"service_tier": tier}} if tier else {}
            expected = genai_prices.calc_price(
                genai_prices.Usage(input_tokens=10**6, output_tokens=10**6),
                "o3",
                provider_id="openai",
                genai_request_timestamp=at,
                **context,
            )
            assert cost == expected.total_price
    assert costs[""] == costs["default"] != costs["flex"]


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "no-such-model"), ("nobody", "gpt-4o"), ("", "")]
)
def test_what_the_table_does_not_know_has_no_price(
    table: PriceTable, provider: str, model: str
) -> None:
    assert table.cost(provider, model, Usage(10, 10), NOW.timestamp()) is None


def test_a_table_that_the_program_replaces_counts_from_then_on() -> None:
    own, usage, at = PriceTable(genai_prices), Usage(1_000_000), NOW.timestamp()
    before, dated = own.cost("openai", "gpt-4o-mini", usage, at), own.newest_date
    assert before
    replaced = copy.deepcopy(data_snapshot.get_snapshot())
    (openai,) = (each for each in replaced.providers if each.id == "openai")
    (model,) = (each for each in openai.models if each.id == "gpt-4o-mini")
    model.prices.input_mtok = 2 * before
    model.price_comments = f"since {datetime.now(timezone.utc).date()}"
    data_snapshot.set_custom_snapshot(replaced)
    try:
        assert own.cost("openai", "gpt-4o-mini", usage, at) == 2 * before
        assert own.newest_date == str(datetime.now(timezone.utc).date())
    finally:
        data_snapshot.set_custom_snapshot(None)
    assert own.cost("openai", "gpt-4o-mini", usage, at) == before
    assert own.newest_date == dated


def test_the_table_is_dated(table: PriceTable) -> None:
    assert table.version == genai_prices.__version__
    assert table.newest_date is not None
    assert "2025-01-01" < table.newest_date <= datetime.now(timezone.utc).date().isoformat()


def test_cheaper_models_take_as_much_input(table: PriceTable) -> None:
    with exact():
        found = dict(table.cheaper("openai", "gpt-4o", Usage(1000, 100)))
        own = table.cost("openai", "gpt-4o", Usage(1000, 100), NOW.timestamp())
    assert own is not None
    assert found["gpt-4o-mini"] < own
    assert "gpt-4o" not in found
    assert "gpt-3.5-turbo" not in found  # its context is smaller
    assert not [name for name in found if "embedding" in name]
    assert all(isinstance(cost, Decimal) for cost in found.values())


@pytest.mark.parametrize(
    ("provider", "model", "maker"),
    [
        ("openai", "gpt-4o", "gpt-"),
        ("anthropic", "claude-sonnet-4-5", "claude-"),
        ("gcp.gemini", "gemini-2.5-pro", "gemini-"),
        ("mistral_ai", "mistral-large", "mistral-"),
    ],
)
def test_cheaper_models_are_those_that_the_provider_sells_for_the_same_work(
    table: PriceTable, provider: str, model: str, maker: str
) -> None:
    with exact():
        found = dict(table.cheaper(provider, model, Usage(1000, 100)))
    assert found
    assert [name for name in found if not name.startswith(maker)] == []
    other = ("oss", "image", "audio", "tts", "realtime", "search", "live", "embed", "transcribe")
    assert [name for name in found if any(word in name for word in other)] == []


def test_names_that_providers_make_up_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def names_in(snapshot: Any) -> int:
        return sum(len(held) for held in vars(snapshot).values() if isinstance(held, dict | set))

    monkeypatch.setattr(price_table, "_MOST", 50)
    in_force = genai_prices.data_snapshot.get_snapshot()
    before = names_in(in_force)
    made = PriceTable.installed()
    assert made is not None
    for number in range(500):
        assert made.cost("openai", f"made-up-{number}", Usage(10, 5), NOW.timestamp()) is None
        assert made.cost("anthropic", f"claude-sonnet-4-5-{number}", Usage(10, 5), NOW.timestamp())
    assert names_in(in_force) == before
    assert names_in(made._own) <= 5 * 50


def test_a_table_of_a_class_of_the_programs_is_used_as_it_is() -> None:
    class Own(data_snapshot.DataSnapshot):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(data_snapshot.get_snapshot().providers, from_auto_update=False)

        def find_provider_model(self, model: str, *more: Any) -> Any:
            if model == "gpt-4o":
                raise LookupError(model)
            return super().find_provider_model(model, *more)

    own, usage, at = PriceTable(genai_prices), Usage(10, 5), NOW.timestamp()
    before = [own.cost("openai", model, usage, at) for model in ("gpt-4o", "gpt-4o-mini")]
    assert all(before)
    data_snapshot.set_custom_snapshot(Own())
    try:
        assert own.cost("openai", "gpt-4o", usage, at) is None
        assert own.cost("openai", "gpt-4o-mini", usage, at) == before[1]
    finally:
        data_snapshot.set_custom_snapshot(None)
    assert own.cost("openai", "gpt-4o", usage, at) == before[0]
