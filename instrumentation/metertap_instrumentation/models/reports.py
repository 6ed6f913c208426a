"""Usage that a framework reports: it is counted if no client inside the call has counted.

Most models of a framework use clients that are measured themselves. One that does not (another
client, plain HTTP, a model of the program's own) reports its usage in the framework's own terms. So
there is a layer around each call of a model, and the framework's report counts if no client inside
was called. A call that raises, or reports nothing, does not count, since it may not have called a
model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from metertap import faults
from metertap.costs.call import unusable
from metertap.costs.model_calls import (
    CHAT,
    UNKNOWN,
    ModelCall,
    Outer,
    around,
    outer,
)
from metertap.costs.usage import Unusable, Usage
from metertap.labels import as_label
from metertap.patching.targets import WrapperFunction
from metertap.patching.tracebacks import hide_frame
from metertap.state import is_enabled
from metertap_instrumentation.models.providers import provider_named

_PLACE = "model report"


class Report(NamedTuple):
    """A framework's report of one call of a model."""

    provider: str
    """The framework's name of the provider; empty if it names none."""
    model: str
    usage: Usage | Unusable
    """The usage, or why it cannot be used."""

    @property
    def is_empty(self) -> bool:
        """Whether it reports no tokens: then no model was called."""
        return isinstance(self.usage, Usage) and not (self.usage.input or self.usage.output)


Read = Callable[[Any, Any], Report | None]
"""Returns the report of a model's response, given both."""


def reported(call: ModelCall, report: Report, *, in_finaliser: bool = False) -> None:
    """Count a call with this report."""
    call.provider = provider_named(report.provider) if report.provider else UNKNOWN
    call.requested = call.model = as_label(report.model or UNKNOWN)
    if isinstance(report.usage, Unusable):
        unusable(call.provider, report.usage)
    else:
        call.usage = report.usage
    call.end(in_finaliser=in_finaliser)


class Reports:
    """Counting of calls of a framework's models: a `wrappers.Measure` for `layers`."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def begin(self, instance: Any, _args: Any, _kwargs: Any) -> Any:
        """Begin a call; None if an outer layer counts it, or nothing is counted."""
        layer = around()
        if not is_enabled() or (layer is not None and layer.counts):
            return None
        return Outer(counts=False), ModelCall("", CHAT, "", None), instance

    def ended(self, begun: Any, response: Any, *, in_finaliser: bool = False) -> None:
        """Count the call by its response's report, unless a client inside was called."""
        layer, call, instance = begun
        if layer.was_seen:
            return
        report = self._read(instance, response)
        if report is not None and not report.is_empty:
            if layer.within is not None:
                layer.within.seen()
            reported(call, report, in_finaliser=in_finaliser)

    def raised(self, _begun: Any, error: BaseException) -> None:
        """Hide the wrapper's frame in the error."""
        hide_frame(error)


class Stream:
    """An iterator over a model's stream, sync or async, which is in its layer at each step.

    `take` collects from the items what `read` of the `Reports` gets at the end.
    """

    def __init__(self, stream: Any, reports: Reports, begun: Any, take: Callable[..., Any]) -> None:
        self._stream = stream
        self._reports = reports
        self._begun = begun
        self._take = take
        self._taken: Any = None

    def __iter__(self) -> Stream:
        return self

    def __aiter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        token = outer.set(self._begun[0])
        try:
            item = next(self._stream)
        except BaseException as error:
            hide_frame(error)
            self._over()
            raise
        finally:
            outer.reset(token)
        self._took(item)
        return item

    async def __anext__(self) -> Any:
        token = outer.set(self._begun[0])
        try:
            item = await self._stream.__anext__()
        except BaseException as error:
            hide_frame(error)
            self._over()
            raise
        finally:
            try:
                outer.reset(token)
            except ValueError:  # it is closed in another context
                pass
        self._took(item)
        return item

    def _took(self, item: Any) -> None:
        with faults.guarded(_PLACE):
            self._taken = self._take(self._taken, item)

    def _over(self, *, in_finaliser: bool = False) -> None:
        """Count, once, what was reported until now."""
        with faults.guarded(_PLACE):
            begun, self._begun = self._begun, (self._begun[0], None, None)
            begun[0].is_over = True
            if begun[1] is not None and self._taken is not None:
                self._reports.ended(begun, self._taken, in_finaliser=in_finaliser)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._stream, name)

    def __del__(self) -> None:
        if faults is not None:  # else Python is finalising, and its modules are empty
            with faults.guarded(_PLACE):
                self._over(in_finaliser=True)


def stream(reports: Reports, take: Callable[..., Any]) -> WrapperFunction:
    """Return wrapt's wrapper for a function that returns a stream."""

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        begun = None
        with faults.guarded(_PLACE):
            begun = reports.begin(instance, args, kwargs)
        try:
            found = wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        if begun is not None:
            with faults.guarded(_PLACE):
                return Stream(found, reports, begun, take)
        return found

    return call
