"""The price table of `genai-prices`, with rates that are remembered for speed.

The package looks up model and price for each call, which takes a third of a millisecond. Between
two thresholds of a tiered price, costs are linear in the tokens. So the price of a token is
computed once for each model, tier and day, and checked against the package's own answer. If they
differ, the package is called each time. Nothing is fetched.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from decimal import Decimal
from functools import cached_property
from importlib import import_module
from typing import Any

from metertap import faults
from metertap.costs.usage import Usage

DISTRIBUTION = "genai-prices"
_DAY, _MINUTE = 86_400, 60
_MOST = 10_000
_DATE = re.compile(r"20\d\d-[01]\d-[0-3]\d")
_IDS = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
}
"""Providers with other names in the table than in OpenTelemetry's conventions."""
_FIELDS = {
    "cached": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "input_audio": "input_audio_tokens",
    "output_audio": "output_audio_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "web_searches": "web_searches",
}
"""The table's names of parts of input and output, and of extras."""
_WITHIN = {"output_audio": "output", "cache_write_1h": "cache_write"}
"""Parts of other parts."""

_SPECIAL = frozenset(
    {
        "audio",
        "cyber",
        "embed",
        "embedding",
        "ft",
        "image",
        "live",
        "moderation",
        "oss",
        "realtime",
        "robotics",
        "rosalind",
        "safeguard",
        "search",
        "transcribe",
        "translate",
        "tts",
        "vision",
    }
)
"""Words in the names of models that do other work than answering, or are offered elsewhere."""


@dataclass(slots=True)
class _Rates:
    """Prices of one call and of each of its tokens, between two thresholds of the input."""

    call: Decimal
    each: dict[str, Decimal]
    """Prices by `Usage`'s names; for parts, the difference to the price of the whole."""
    is_exact: bool = True

    def cost(self, usage: Usage) -> Decimal:
        total = self.call
        for name, rate in self.each.items():
            total += rate * getattr(usage, name)
        return total


@dataclass(slots=True)
class _Known:
    """One model's prices: the thresholds, and the rates between them."""

    seconds: int
    """How long its prices stay the same: a day, or a minute."""
    thresholds: list[int]
    rates: dict[tuple[str, int, int, tuple[bool, ...]], _Rates] = field(default_factory=dict)


class PriceTable:
    """The installed package's table. For one thread at a time."""

    def __init__(self, package: Any) -> None:
        self._package = package
        self._known: dict[tuple[str, str], _Known | None] = {}
        self._in_force: Any = None
        self._own: Any = None
        """The package's table in force, as a copy that forgets names as `_known` does."""

    @classmethod
    def installed(cls) -> PriceTable | None:
        """Return the package's table; None if it is not installed or unusable."""
        try:
            return cls(import_module("genai_prices"))
        except ImportError:
            return None
        except Exception as fault:
            faults.fault("price table", fault)
            return None

    @property
    def version(self) -> str:
        """The version of the package."""
        return str(self._package.__version__)

    @cached_property
    def newest_date(self) -> str | None:
        """The newest past date in the table: the table is at least as new as that."""
        today = datetime.now(timezone.utc).date()
        found = [day for day in self._dates() if day <= today]
        return max(found).isoformat() if found else None

    def _dates(self) -> Iterator[date]:
        for provider in self._providers():
            texts = [provider.price_comments or ""]
            for model in provider.models:
                texts.append(model.price_comments or "")
                for price in _conditional(model):
                    started = getattr(price.constraint, "start_date", None)
                    if started is not None:
                        yield started
            for text in _DATE.findall(" ".join(texts)):
                try:
                    yield date.fromisoformat(text)
                except ValueError:
                    continue

    def cost(
        self, provider: str, model: str, usage: Usage, at: float, tier: str = ""
    ) -> Decimal | None:
        """Return the cost of a call that ended `at` (Unix seconds); None if it is not known."""
        known = self._find(provider, model, at)
        if known is None:
            return None
        bracket = bisect_left(known.thresholds, usage.input)
        parts = tuple(bool(getattr(usage, part)) for part in _FIELDS)
        key = (tier, int(at // known.seconds), bracket, parts)
        rates = known.rates.get(key)
        if rates is None:
            if len(known.rates) >= _MOST:
                known.rates.clear()
            rates = known.rates[key] = self._rates(provider, model, usage, at, tier)
        if rates.is_exact:
            return rates.cost(usage)
        return self._ask(provider, model, usage, at, tier)

    def cheaper(self, provider: str, model: str, usage: Usage) -> Iterator[tuple[str, Decimal]]:
        """Yield the costs of a call like this with other models of the provider."""
        now = datetime.now(timezone.utc).timestamp()
        own = self._model(provider, model)
        if own is None:
            return
        found, info = own
        for other in found.models:
            if other is info or other.deprecated or not _is_alike(other, info, usage):
                continue
            cost = self.cost(provider, other.id, usage, now)
            if cost is not None:
                yield other.id, cost

    def _find(self, provider: str, model: str, at: float) -> _Known | None:
        name = provider, model
        self._snapshot()
        if name not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
                self._own = None
            self._known[name] = self._looked_up(provider, model, at)
        return self._known[name]

    def _looked_up(self, provider: str, model: str, at: float) -> _Known | None:
        found = self._model(provider, model)
        if found is None:
            return None
        info = found[1]
        prices = [price.prices for price in _conditional(info)] or [info.prices]
        prices += [variant.prices for variant in getattr(info, "price_variants", None) or ()]
        starts = {
            tier.start
            for price in prices
            for value in vars(price).values()
            for tier in getattr(value, "tiers", ())
        }
        by_time = any(hasattr(price.constraint, "start_time") for price in _conditional(info))
        return _Known(_MINUTE if by_time else _DAY, sorted(starts))

    def _rates(self, provider: str, model: str, usage: Usage, at: float, tier: str) -> _Rates:
        """Return prices of tokens for calls with as much input as `usage`."""
        whole = max(usage.input, 1)

        def asked(**parts: int) -> Decimal:
            return self._ask(provider, model, Usage(**parts), at, tier)

        try:
            call, plain = asked(), asked(input=whole)
            each = {"input": (plain - call) / whole}
            for part in ("output", *_FIELDS):
                if part == "output" or getattr(usage, part):
                    outer = {_WITHIN[part]: whole} if part in _WITHIN else {}
                    without = asked(input=whole, **outer)
                    each[part] = (asked(input=whole, **outer, **{part: whole}) - without) / whole
            rates = _Rates(call, {name: rate for name, rate in each.items() if rate})
            rates.is_exact = rates.cost(usage) == self._ask(provider, model, usage, at, tier)
        except (ValueError, TypeError):  # it charges other things than tokens
            rates = _Rates(Decimal(0), {}, is_exact=False)
        return rates

    def _ask(self, provider: str, model: str, usage: Usage, at: float, tier: str) -> Decimal:
        parts = {name: value for part, name in _FIELDS.items() if (value := getattr(usage, part))}
        context = {"price_context": {"service_tier": tier}} if tier else {}
        found = self._snapshot().calc(
            self._package.Usage(input_tokens=usage.input, output_tokens=usage.output, **parts),
            model,
            provider_id=_IDS.get(provider, provider),
            provider_api_url=None,
            genai_request_timestamp=datetime.fromtimestamp(at, tz=timezone.utc),
            **context,
        )
        return Decimal(found.total_price)

    def _model(self, provider: str, model: str) -> tuple[Any, Any] | None:
        try:
            found: tuple[Any, Any] = self._snapshot().find_provider_model(
                model, None, _IDS.get(provider, provider), None
            )
        except LookupError:
            return None
        return found

    def _providers(self) -> list[Any]:
        providers: list[Any] = self._snapshot().providers
        return providers

    def _snapshot(self) -> Any:
        """Return the table in force, which the program may update.

        The package's own keeps each name that it is asked for: models may be named by strangers.
        """
        module = import_module("genai_prices.data_snapshot")
        in_force = module.get_snapshot()
        if self._own is None or self._in_force is not in_force:
            self._known.clear()
            vars(self).pop("newest_date", None)
            self._own = self._in_force = in_force
            if type(in_force) is module.DataSnapshot:  # else of a class of the program's
                self._own = module.DataSnapshot(in_force.providers, in_force.from_auto_update)
        return self._own


def _conditional(model: Any) -> list[Any]:
    """Return a model's conditional prices; none if it has only one price."""
    return model.prices if isinstance(model.prices, list) else []


def _is_alike(other: Any, model: Any, usage: Usage) -> bool:
    """Return whether `other` accepts as much input as `model`, and does the same kind of work."""
    words, own_words = _words(other.id), _words(model.id)
    # The table lists other makers' models under a provider, and some that it does not sell.
    if words[0] != own_words[0] or _SPECIAL & set(words) - set(own_words):
        return False
    if model.context_window and (other.context_window or 0) < model.context_window:
        return False
    price = other.prices[-1].prices if isinstance(other.prices, list) else other.prices
    return price.input_mtok is not None and (not usage.output or price.output_mtok is not None)


def _words(name: str) -> list[str]:
    return re.split("[^a-z]+", name.lower())
