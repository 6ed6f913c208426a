"""Patches of OpenTelemetry's SDK that notice changes of providers and the first span."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metertap import state
from metertap.otel import sdk
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import stand_in
from metertap.recording import Recorder


def _notes(*_args: Any, **_kwargs: Any) -> bool:
    """Return a note, so that `after` is called with the call's result."""
    return True


def _folded(*_args: Any, **_kwargs: Any) -> Recorder:
    """Fold waiting calls before a reader is added: it must not get them."""
    recorder = state.recorder()
    recorder.fold()
    return recorder


class ProviderWatch(PatchSet):
    """Calls `provider_set` when the application has set the global meter provider."""

    def __init__(self, provider_set: Callable[[], None]) -> None:
        make = around("pipeline.move", _notes, lambda _note, _result: provider_set())
        target = stand_in(sdk.SET_PROVIDER_FUNCTION, make, optional=True)
        super().__init__(sdk.SET_PROVIDER_MODULE, [target])


class ReaderWatch(PatchSet):
    """Tells the recorder of a reader that was added to a provider: it has no data yet."""

    def __init__(self) -> None:
        make = around("pipeline.readers", _folded, lambda recorder, _result: recorder.begin_again())
        target = stand_in(sdk.ADD_READER_FUNCTION, make, optional=True)
        super().__init__(sdk.CONSUMER_MODULE, [target])


class SpanWatch(PatchSet):
    """Has samples taken with their span, for exemplars, once the program starts its first span."""

    def __init__(self) -> None:
        def begins(*_args: Any, **_kwargs: Any) -> None:
            self._trace()

        target = stand_in(sdk.START_SPAN_METHOD, around("pipeline.trace", begins), optional=True)
        super().__init__(sdk.TRACE_MODULE, [target])

    def install(self) -> None:
        """Wait for the first span, unless there was one."""
        if state.recorder().sampled_context is None:
            super().install()
            if sdk.sampled_context() is not None:
                self._trace()

    def _trace(self) -> None:
        self.uninstall()
        state.recorder().trace_with(sdk.sampled_context)
