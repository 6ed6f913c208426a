"""The series of a tool's weight: the size of its definition and of its results, in bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from metertap import catalogue, faults
from metertap.recording.batch import Batch, Trace
from metertap.recording.buffer import Delivery
from metertap.recording.latency_series import LatencySeries
from metertap.weight.results import STRUCTURED, UNKNOWN, of_content, of_structure, of_value

if TYPE_CHECKING:
    from metertap.recording.figures import WeightFigures
    from metertap.recording.percentiles import Percentiles
    from metertap.weight.definitions import Definition

_is_ascii = str.isascii  # raises a TypeError if it is no string
_ALWAYS = 8
_EVERY = 64
"""After the first structured results, one in so many is in the sample."""


class Sized(NamedTuple):
    """A size with the context of the sampled span in which it was taken."""

    size: int
    trace: tuple[int, Any]


class WeightSeries(LatencySeries["WeightFigures"]):
    """One tool's definition and results, as one side saw them, in bytes.

    In the buffer, an integer from 0 on is the size of a result. -1 is an unknown size, and -2 that
    of a result outside of the sample, which only serialising would tell. Totals and window are the
    classes for latencies, which work for any unit.
    """

    __slots__ = (
        "_attributes",
        "_begun",
        "_define",
        "_defined",
        "definition",
        "is_unknown_told",
        "name",
        "side",
        "skipped",
        "source",
        "structured",
        "unknown",
    )

    def __init__(self, name: str, source: str, side: str, recorder: Delivery) -> None:
        super().__init__(recorder)
        self.name = name
        self.source = source
        self.side = side
        self.unknown = self.skipped = 0
        self.definition: Definition | None = None
        self._define: tuple[Callable[[Any], Definition | None], Any] | None = None
        self._defined = 0  # number of definitions so far
        self.structured = 0
        """The number of results whose size only serialising tells."""
        self.is_unknown_told = False
        """Whether a warning was given that results of this tool have no known size."""
        self._attributes = {catalogue.TOOL_NAME: name, catalogue.SIDE: side}
        self._begun = False

    def weigh(self, size_of: Callable[[Any], int], result: Any) -> None:
        """Record the size of a tool's result, which `size_of` returns. Never raises."""
        size = self.size(size_of, result)
        try:
            # Inlined from `record`, to save a call.
            tick = self.tick
            try:
                tick()
            except StopIteration:
                self.due()
            append = self.append if size >= 0 else self._items.append
            append(size)
        except Exception as fault:
            faults.fault("weight.result", fault)

    def weigh_plain(self, value: Any) -> None:
        """Record the size of a string, or of a value as JSON. Never raises."""
        if type(value) is str:
            if not _is_ascii(value):
                self.weigh(of_value, value)
                return
            size = len(value)
        else:
            count = self.structured
            if count < _ALWAYS or count % _EVERY == 0:  # in the sample
                self.weigh(of_value, value)
                return
            self.structured = count + 1
            size = STRUCTURED
        tick = self.tick
        try:
            tick()
        except StopIteration:
            self.due()
        append = self.append if size >= 0 else self._items.append
        append(size)

    def size(self, size_of: Callable[[Any], int], result: Any) -> int:
        """Return the size of a tool's result, or -1 or -2 in its place. Never raises."""
        try:
            size = size_of(result)
            return size if size >= 0 else self._unread(size, result)
        except Exception as fault:
            faults.fault("weight.result", fault)
            return UNKNOWN

    def weigh_value(self, result: Any) -> None:
        """Record the size of the value that a tool returned. Never raises."""
        self.weigh(of_value, result)

    def size_of_content(self, blocks: Any) -> int:
        """Return the size of MCP's content blocks, most often one ASCII text. Never raises."""
        try:
            block = blocks[0]
            text = (block if type(block) is dict else block.__dict__)["text"]
            if len(blocks) == 1 and _is_ascii(text):
                return len(text)
        except Exception:  # noqa: S110  # `of_content` raises it again, and `size` reports it
            pass
        return self.size(of_content, blocks)

    def _unread(self, size: int, result: Any) -> int:
        """Return the size of a result in the sample, or -1 if it is unknown."""
        if size == STRUCTURED:
            count = self.structured
            self.structured = count + 1
            if count >= _ALWAYS and count % _EVERY:
                return size
            size = of_structure(result)
        if size == UNKNOWN and not self.is_unknown_told:
            self.is_unknown_told = True
            faults.warn_once(
                "weight.unknown",
                "the size of what tool %s returned is not known (%s): "
                "such results count as unknown",
                self.name,
                type(result).__qualname__,
            )
        return size

    def record(self, size: int, _ended: float | None = None) -> None:
        """Record the size of one result, or -1 or -2."""
        try:
            self.tick()
        except StopIteration:
            self.due()
        if size < 0:  # no reader has to see these at once
            self._items.append(size)
        else:
            self.append(size)

    def defined_by(self, measure: Callable[[Any], Definition | None], what: Any) -> None:
        """Note the definition `what`; `measure` returns its size when figures are read.

        The series that many tools share has none: that of one would pass for that of all.
        """
        if self.name != catalogue.OTHER:
            self._define = measure, what
            self._defined += 1

    def is_awaited(self, value: object = 0) -> bool:
        return not (isinstance(value, int) and value < 0) and super().is_awaited()

    def look(self) -> None:
        """Measure a new definition. Not to be called with the lock held; never raises."""
        define, self._define = self._define, None
        if define is not None:
            with faults.guarded("weight.definition"):
                measure, what = define
                # The program may have dropped its newest object meanwhile.
                self.definition = measure(what) or self.definition
                self._defined += 1

    def forked(self) -> WeightSeries:
        """Return the series for a forked child: the same definition, and no results yet."""
        series = WeightSeries(self.name, self.source, self.side, self._recorder)
        series.definition, series._define = self.definition, self._define
        return series

    def start_over(self) -> None:
        super().start_over()
        self.unknown = self.skipped = 0

    def begin_again(self) -> None:
        self._begun = False
        super().begin_again()

    def _state(self) -> tuple[object, ...]:
        return (*super()._state(), self.unknown, self.skipped, self._defined)

    def _figures_now(self, percentiles: Percentiles) -> WeightFigures:
        from metertap.recording.figures import WeightFigures  # imported when figures are read

        sizes = self.latencies
        return WeightFigures(
            name=self.name,
            source=self.source,
            side=self.side,
            definition=self.definition,
            results=sizes.count,
            unknown=self.unknown,
            skipped=self.skipped,
            is_sampled=bool(self.structured),
            total=int(sizes.total),
            maximum=None if sizes.maximum is None else int(sizes.maximum),
            percentiles=percentiles,
            window_samples=len(sizes.window),
        )

    def _take(self, batch: Batch) -> None:
        if batch.parts is None:
            batch.parts = _known(batch.durations)
        known, unknown, skipped = batch.parts
        if self not in batch.taken_by:
            self.unknown += unknown
            self.skipped += skipped
            batch.taken_by[self] = unknown + skipped
        if known is not None:
            self.latencies.add_milliseconds(known)
            self._recorder.hand_over(catalogue.TOOL_RESULT_SIZE, known, self._attributes)
            self._begun = True

    def _has_begun(self) -> bool:
        return self._begun

    def traced(self, seconds: float, sampled: tuple[int, Any]) -> object:
        size = int(seconds)
        return size if size < 0 else Sized(size, sampled)


def _known(items: Sequence[Any]) -> tuple[Batch | None, int, int]:
    """Return the sizes among `items`, and the numbers of unknown and of skipped ones."""
    if set(map(type, items)) == {int} and min(items) >= 0:  # most often
        return Batch(items), 0, 0
    sizes: list[int] = []
    traces: list[Trace] = []
    unknown = skipped = 0
    for item in items:
        if type(item) is Sized:
            traces.append(Trace(len(sizes), *item.trace))
            item = item.size
        if item >= 0:
            sizes.append(item)
        elif item == -1:
            unknown += 1
        else:
            skipped += 1
    return Batch(sizes, traces) if sizes else None, unknown, skipped
