"""Each name of OpenTelemetry's conventions for MCP and GenAI is recorded, or it is said why not."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.semconv._incubating.attributes import (
    gen_ai_attributes,
    jsonrpc_attributes,
    mcp_attributes,
)
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics, mcp_metrics

from metertap import catalogue

PAGE = Path(__file__).parents[3] / "docs" / "conventions.md"
KNOWN = [gen_ai_attributes, jsonrpc_attributes, mcp_attributes, gen_ai_metrics, mcp_metrics]


def names_in(module: ModuleType) -> set[str]:
    return {
        value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)
    }


def rows() -> dict[str, str]:
    """What the tables say of each name: `yes`, `no`, or why not."""
    found = {}
    for line in re.findall(r"^\| .*", PAGE.read_text(), re.MULTILINE):
        first, _, rest = line.removeprefix("| ").partition(" | ")
        for name in re.findall(r"`([a-z_.]+)`", first):
            found[name] = rest.partition(" | ")[0]
    return found


def recorded() -> set[str]:
    """Every attribute and metric of the catalogue."""
    values = list(vars(catalogue).values())
    metrics = {value.name for value in values if isinstance(value, catalogue.Metric)}
    return metrics | {value for value in values if isinstance(value, str)}


@pytest.mark.parametrize("module", KNOWN, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_name_stands_in_a_table(module: ModuleType) -> None:
    names = names_in(module)
    assert names
    assert names - set(rows()) == set()


def test_the_tables_say_what_is_recorded() -> None:
    said = {name for name, answer in rows().items() if answer == "yes"}
    conventional = set().union(*map(names_in, KNOWN))
    assert said <= recorded()
    assert recorded() & conventional <= said


def test_units_are_those_of_the_conventions() -> None:
    meter = MeterProvider(shutdown_on_exit=False).get_meter("conventions")
    conventional = {}
    for module in (gen_ai_metrics, mcp_metrics):
        for name, create in vars(module).items():
            if name.startswith("create_"):
                instrument = create(meter)
                conventional[instrument.name] = instrument.unit
    ours = {it.name: it.unit for it in vars(catalogue).values() if isinstance(it, catalogue.Metric)}
    both = ours.keys() & conventional.keys()
    assert {catalogue.TOKEN_USAGE.name, catalogue.MODEL_DURATION.name} <= both
    assert {name: ours[name] for name in both} == {name: conventional[name] for name in both}


def test_model_calls_have_the_bounds_that_the_conventions_advise() -> None:
    # The package does not know them: gen-ai-metrics.md of the conventions says so.
    assert catalogue.TOKEN_USAGE.buckets == tuple(4**power for power in range(14))
    assert catalogue.MODEL_DURATION.buckets == tuple(2**power / 100 for power in range(14))
