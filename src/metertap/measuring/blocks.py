"""One call measured as a block: what `measure_tool` gives, and what measured generators run in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

from metertap import faults
from metertap.measuring import calls
from metertap.measuring.calls import Call
from metertap.outcomes import Ending
from metertap.patching.tracebacks import hide_frame
from metertap.state import is_enabled, recorder


class Measured:
    """Context manager of one call of the tool `name`. Never raises on its own account.

    With `in_steps`, the call is the current one inside `as_current()` only. `judge` says how a call
    ended that raised, where its type alone does not.
    """

    __slots__ = ("_calls", "_counted_by", "_in_steps", "_judge", "_name", "_source")

    def __init__(
        self,
        name: str,
        source: str,
        counted_by: str,
        *,
        in_steps: bool = False,
        judge: Callable[[BaseException], Ending] = Ending.by,
    ) -> None:
        self._name = name
        self._source = source
        self._counted_by = counted_by
        self._in_steps = in_steps
        self._judge = judge
        self._calls: list[Call] = []  # of a block that several threads are in, or one twice

    def __enter__(self) -> None:
        with faults.guarded("measure"):
            if not is_enabled():
                return
            if calls.counted_already(self._name, self._counted_by):
                recorder().left_out(self._name)
                return
            call = Call(recorder(), self._name, self._source, self._counted_by)
            series = recorder().tool_by_hand(self._name, self._source)
            call.start(series, as_current=not self._in_steps)
            self._calls.append(call)

    def as_current(self) -> contextlib.AbstractContextManager[None]:
        """The call is the current one inside, if there is one; to be entered for each step."""
        return calls.AsCurrent(self._calls[-1]) if self._calls else contextlib.nullcontext()

    def yielded(self) -> None:
        """The call has given an item."""
        call = self._calls[-1] if self._calls else None
        if call is not None and call.first_item is None:
            with faults.guarded("measure"):
                call.yielded()

    def _leave(self) -> Call | None:
        """The call that ends: the innermost of this block in this context."""
        frame = calls.current.get()
        while frame is not None:
            if frame[calls.SERIES] is not None and frame[calls.OWNER] in self._calls:
                self._calls.remove(frame[calls.OWNER])
                return frame[calls.OWNER]  # type: ignore[no-any-return]
            frame = frame[calls.PARENT]
        return self._calls.pop() if self._calls else None

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        call = self._leave()
        if call is not None:
            with faults.guarded("measure"):
                call.finish(None if error is None else self._judge(error))
        if error is not None and self._counted_by != calls.BLOCK:
            hide_frame(error)  # of a block it would be the program's own
