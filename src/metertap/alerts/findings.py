"""Figures beside their thresholds, and what is said of them while an alert fires and at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from metertap import text
from metertap.alerts.definitions import MILLISECONDS, PERCENT, SECONDS, Definition

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]


class Finding(NamedTuple):  # cheap to make: of each tool some, at each evaluation
    """A figure of a tool, a cache or the process at one moment, beside its threshold."""

    definition: Definition
    labels: Labels
    for_seconds: float
    """How long it has to be past its threshold."""
    value: float | None
    """In the definition's unit. None: there is no figure."""
    threshold: float
    span: float = 0.0
    """Seconds that the value is taken over."""
    counted: int = 0
    """Calls or lookups that it is made of."""
    minimum: int = 0
    compared: float | None = None
    """What is compared with the threshold, where that is not the value."""
    words: Callable[[], Mapping[str, str]] = dict
    """Further words of the definition's sentences."""
    said: str = ""
    """The sentence, where it is not the definition's for what fires."""

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.definition.name

    @property
    def key(self) -> Key:
        """What makes it the same alert at the next evaluation, and after a restart."""
        return self.name, self.labels

    @property
    def is_past(self) -> bool:
        """Whether it is on the wrong side of its threshold."""
        return self._is_beyond(self.threshold)

    @property
    def is_close(self) -> bool:
        """Whether it is past its threshold, or not yet better by the margin."""
        return self._is_beyond(self.definition.relief(self.threshold))

    @property
    def summary(self) -> str:
        """Say it in one sentence."""
        return self.said or self._filled(self.definition.firing)

    def over(self) -> Finding:
        """Copy it as the end of an alert: it says what is so now."""
        definition, is_known = self.definition, self.value is not None and self._is_of_enough
        told = definition.resolved if is_known else definition.too_few or definition.resolved
        return self._replace(said=self._filled(told))

    def forgotten(self) -> Finding:
        """Copy it as the end of an alert of which there is no figure any more."""
        return self._replace(value=None, said=f"this holds no more: {self.summary}")

    @property
    def _is_of_enough(self) -> bool:
        return self.counted >= self.minimum

    def _is_beyond(self, limit: float) -> bool:
        figure = self.value if self.compared is None else self.compared
        if figure is None or not self._is_of_enough:
            return False
        return figure < limit if self.definition.is_low else figure > limit

    def _filled(self, sentence: str) -> str:
        return sentence.format(
            **dict(self.labels),
            value=self._shown(self.value),
            threshold=self._shown(self.threshold),
            window=text.time_span(self.span),
            count=self.counted,
            calls=_number(self.counted, "call"),
            lookups=_number(self.counted, "lookup"),
            **self.words(),
        )

    def _shown(self, figure: float | None) -> str:
        if figure is None:
            return text.NONE
        unit = self.definition.unit
        if unit == PERCENT:
            return text.share(figure / 100)
        if unit == MILLISECONDS:
            return text.seconds(figure / 1000)
        return text.time_span(figure) if unit == SECONDS else str(figure)


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
