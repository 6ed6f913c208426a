"""What the application does in OpenTelemetry that recording has to follow, seen by patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metertap import faults, state
from metertap.otel import sdk
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.tracebacks import frameless


class ProviderWatch(PatchSet):
    """Calls `provider_set` whenever the application has set the global meter provider."""

    def __init__(self, provider_set: Callable[[], None]) -> None:
        self._provider_set = provider_set
        target = Target(sdk.SET_PROVIDER_FUNCTION, frameless(self._set_provider), optional=True)
        super().__init__(sdk.SET_PROVIDER_MODULE, [target])

    def _set_provider(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        result = wrapped(*args, **kwargs)
        with faults.guarded("pipeline.move"):
            self._provider_set()
        return result


class ReaderWatch(PatchSet):
    """Tells the recorder of readers that are added to a provider: they begin with nothing."""

    def __init__(self) -> None:
        target = Target(sdk.ADD_READER_FUNCTION, frameless(self._add_reader), optional=True)
        super().__init__(sdk.CONSUMER_MODULE, [target])

    def _add_reader(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        recorder = state.recorder()
        recorder.fold()  # what waits was measured before there was this reader
        result = wrapped(*args, **kwargs)
        recorder.begin_again()
        return result


class SpanWatch(PatchSet):
    """Has samples asked for their span, for exemplars, once the program starts its first span."""

    def __init__(self) -> None:
        target = Target(sdk.START_SPAN_METHOD, frameless(self._start_span), optional=True)
        super().__init__(sdk.TRACE_MODULE, [target])

    def install(self) -> None:
        """Wait for the first span, unless there has been one."""
        if state.recorder().sampled_context is None:
            super().install()
            if sdk.sampled_context() is not None:
                self._trace()

    def _start_span(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        with faults.guarded("pipeline.trace"):
            self._trace()
        return wrapped(*args, **kwargs)

    def _trace(self) -> None:
        self.uninstall()
        state.recorder().trace_with(sdk.sampled_context)
