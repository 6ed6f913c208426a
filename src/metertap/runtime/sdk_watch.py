"""Patches of OpenTelemetry's SDK that tell of the application's changes to providers."""

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
    """Return a note, so that the call's result is told."""
    return True


def _folded(*_args: Any, **_kwargs: Any) -> Recorder:
    """Fold the calls that wait: they were measured before this reader was there."""
    recorder = state.recorder()
    recorder.fold()
    return recorder


class ProviderWatch(PatchSet):
    """Calls `provider_set` whenever the application has set the global meter provider."""

    def __init__(self, provider_set: Callable[[], None]) -> None:
        make = around("pipeline.move", _notes, lambda _note, _result: provider_set())
        target = stand_in(sdk.SET_PROVIDER_FUNCTION, make, optional=True)
        super().__init__(sdk.SET_PROVIDER_MODULE, [target])


class ReaderWatch(PatchSet):
    """A patch that tells the recorder of readers added to a provider: they begin with nothing."""

    def __init__(self) -> None:
        make = around("pipeline.readers", _folded, lambda recorder, _result: recorder.begin_again())
        target = stand_in(sdk.ADD_READER_FUNCTION, make, optional=True)
        super().__init__(sdk.CONSUMER_MODULE, [target])


class SpanWatch(PatchSet):
    """Has samples asked for their span, for exemplars, once the program starts its first span."""

    def __init__(self) -> None:
        def begins(*_args: Any, **_kwargs: Any) -> None:
            self._trace()

        target = stand_in(sdk.START_SPAN_METHOD, around("pipeline.trace", begins), optional=True)
        super().__init__(sdk.TRACE_MODULE, [target])

    def install(self) -> None:
        """Wait for the first span, unless there has been one."""
        if state.recorder().sampled_context is None:
            super().install()
            if sdk.sampled_context() is not None:
                self._trace()

    def _trace(self) -> None:
        self.uninstall()
        state.recorder().trace_with(sdk.sampled_context)
