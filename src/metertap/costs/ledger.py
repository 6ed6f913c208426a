"""The ledger of model calls: ended calls wait, and are then priced and added up.

The end of a call only appends it to lists. Calls are recorded in OpenTelemetry's histograms when
these are read. They are priced and added up when figures are read, or by a thread when `_MOST` of
them wait. Money is spent in vain if the tool's own call fails: until that has ended, its share
waits.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any

from metertap import faults, locks, state, threads
from metertap.costs import points, prices
from metertap.costs.call import Call
from metertap.measuring.calls import NOTE, SERIES, Frame
from metertap.outcomes import FAILED
from metertap.recording import Recorder
from metertap.recording.arithmetic import exact
from metertap.recording.usage_series import UsageKey

_MOST = 256
"""The most calls that wait if no figures are read; then a thread adds them up."""
_MOST_OPEN = 10_000
"""The most shares of running tool calls that are kept; older ones count as successful."""

_lock = locks.rlock()
_ended: list[Call] = []
"""Calls without a price so far."""
_unrecorded: deque[Call] = deque()
"""Calls that are not in the histograms yet."""
_folding: list[bool] = []
"""Not empty while a thread adds calls up."""
_open: list[tuple[Frame, UsageKey, Decimal]] = []
failing: dict[int, tuple[Frame, set[tuple[str, str]]]] = {}
"""By the identity of a tool's call in progress, the models of which a call has failed in it."""


def add(call: Call, recorder: Recorder, in_finaliser: bool) -> None:
    """Add an ended call. If a finaliser does so, no thread may be started."""
    if call.error_type is not None and call.frame is not None:
        _, models = failing.setdefault(id(call.frame), (call.frame, set()))
        models.add((call.provider, call.requested))
    _unrecorded.append(call)
    _ended.append(call)
    # Not only if it is the first: two threads may both see a list of two.
    if not recorder.has_usage or len(_ended) == 1:
        recorder.on_usage(fold, record)
        recorder.activity()
    elif len(_ended) >= _MOST and not in_finaliser and not _folding:
        _fold_elsewhere()
    if not points.may_wait(call, recorder):
        record()


def _fold_elsewhere() -> None:
    """Add calls up in a thread, since the first price imports the table."""

    def work() -> None:
        try:
            fold()
        finally:
            _folding.clear()

    _folding.append(True)
    try:
        threads.Thread(target=work, name="metertap-costs", daemon=True).start()
    except RuntimeError:  # no thread can start while Python finalises
        work()


def failed_before(frame: Frame, provider: str, model: str) -> bool:
    """Return whether a call of this model has failed in the same call of a tool."""
    known = failing.get(id(frame))
    return known is not None and known[0] is frame and (provider, model) in known[1]


def record() -> None:
    """Record ended calls in OpenTelemetry's histograms. Never raises."""
    if not _unrecorded:
        return
    recorder = state.recorder()
    recorder.wake()  # without the lock: it may take long, and other threads record
    with recorder.lock:
        for _ in range(len(_unrecorded)):
            try:
                call = _unrecorded.popleft()
            except IndexError:  # a finaliser in this thread has taken the rest
                return
            with faults.guarded("model calls"):
                call.settle()
                points.record(call, recorder)


def fold() -> None:
    """Price ended calls and add them up. Never raises."""
    record()
    with _lock, faults.guarded("model calls"), exact():
        batch = _ended[: len(_ended)]
        del _ended[: len(batch)]
        for call in batch:
            with faults.guarded("model calls"):
                _take(call)
        _settle()


def _take(call: Call) -> None:
    recorder = state.recorder()
    with recorder.lock:
        call.settle()
    usage = call.usage
    cost: Decimal | None = None
    if usage is not None:
        cost = prices.in_force().cost(call.provider, call.model, usage, call.at, call.tier)
    with recorder.lock:
        series = recorder.usage(call.tool, call.provider, call.model)
        series.calls += 1
        series.failed += call.error_type is not None
        series.seconds += call.seconds or 0.0
        series.retries += call.is_retry
        series.repeats += call.is_repeat
        if call.after_miss:
            series.seconds_after_miss += call.seconds or 0.0
        if usage is None:
            series.unreported += 1
            if call.error_type is None:
                faults.warn_once(
                    f"usage {call.provider}",
                    "a call of %s did not say how many tokens it used (streams may have to be "
                    "asked for it); such calls count without tokens",
                    faults.shown(call.provider, str),
                )
            return
        series.input_tokens += usage.input
        series.output_tokens += usage.output
        series.cached_tokens += usage.cached
        series.cache_write_tokens += usage.cache_write
        series.reasoning_tokens += usage.reasoning
        if cost is None:
            series.unpriced += 1
            return
        series.spent += cost
        if call.after_miss:
            series.spent_after_miss += cost
        if call.is_retry:
            series.spent_in_retries += cost
        if call.is_repeat:
            series.spent_in_repeats += cost
    if call.frame is not None and cost:
        _open.append((call.frame, series.key, cost))


def _settle() -> None:
    """Add the shares of ended and failed tool calls to the money spent in vain."""
    recorder = state.recorder()
    kept = []
    for frame, key, cost in _open[-_MOST_OPEN:]:
        if frame[SERIES] is not None:
            kept.append((frame, key, cost))
        elif len(frame) > NOTE and frame[NOTE] is not None and frame[NOTE].outcome in FAILED:
            with recorder.lock:
                recorder.usage(*key).spent_in_failed += cost
    _open[:] = kept
    for identity, (frame, _) in list(failing.items()):
        if frame[SERIES] is None:
            failing.pop(identity, None)


def _forget(*_: Any) -> None:
    for kept in (_ended, _unrecorded, _open, failing, _folding):
        kept.clear()


state.on_reset(_forget)
state.on_fork(child=_forget)
