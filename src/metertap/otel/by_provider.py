"""Objects that belong to one meter provider, and live as long as it does."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from opentelemetry.metrics import MeterProvider

T = TypeVar("T")


class ByProvider(Generic[T]):
    """One object for each provider, made on first use.

    Providers are distinguished by identity: one that compares by its fields (such as logfire's) has
    no hash.
    """

    def __init__(self, make: Callable[[MeterProvider], T]) -> None:
        self._make = make
        self._kept: dict[int, tuple[weakref.ref[MeterProvider], T]] = {}

    def of(self, provider: MeterProvider) -> T:
        """Return the object of a provider."""
        key = id(provider)
        found = self._kept.get(key)
        if found is None:
            alive = weakref.ref(provider, lambda _: self._kept.pop(key, None))
            found = self._kept[key] = alive, self._make(provider)
        return found[1]

    def providers(self) -> list[MeterProvider]:
        """Return the providers that live."""
        alive = [provider() for provider, _ in list(self._kept.values())]
        return [provider for provider in alive if provider is not None]
