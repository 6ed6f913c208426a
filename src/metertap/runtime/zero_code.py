"""Zero-code in OpenTelemetry's own way: the instrumentor that its entry point loads.

`opentelemetry-instrument`, and the section `instrumentation/development` of the declarative file,
find it. The readers named by `OTEL_METRICS_EXPORTER` and by the declarative file are in
`metertap_exporters`.
"""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.runtime import tap
from metertap.runtime.instrument import instrument
from metertap.settings.table import KEYWORDS


class MetertapInstrumentor:
    """OpenTelemetry's instrumentor contract: `instrument()` and `uninstrument()`."""

    def instrument(self, **kwargs: Any) -> None:
        """Call `metertap.instrument`, without the arguments that the loader adds for itself."""
        with faults.guarded("zero_code"):
            known = {key: kwargs[key] for key in kwargs.keys() & KEYWORDS}
            instrument(**known)

    def uninstrument(self, **_kwargs: Any) -> None:
        """Call `metertap.uninstrument`."""
        tap.uninstrument()
