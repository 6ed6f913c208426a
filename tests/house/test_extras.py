"""The extras: what a server's environment gets, and that nothing in it changes the host program."""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.requirements import Requirement

CHANGES_THE_HOST = {
    "rich": "mcp and others draw their log and tracebacks with it where they find it",
    "uvloop": "servers run on another event loop where they find it",
    "loguru": "some servers send their log elsewhere where they find it",
}
LOADED_BY_OTHERS = {
    "opentelemetry_instrumentor",
    "opentelemetry_distro",
    "opentelemetry_configurator",
    "pydantic",
    "pytest11",
    "sitecustomize",
    "langsmith.plugins",
    "logfire.plugins",
}
"""Groups of entry points that programs load without being asked to."""


def required(name: str, extras: frozenset[str], found: set[str]) -> set[str]:
    """`found`, and the distributions that `name` with `extras` brings."""
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        if requirement.marker is not None and not any(map(requirement.marker.evaluate, wanted)):
            continue
        inner = requirement.name.lower()
        if inner == "metertap" or inner not in found:
            found.add(inner)
            required(inner, frozenset(requirement.extras), found)
    return found


@pytest.fixture(scope="module")
def servers() -> set[str]:
    return required("metertap", frozenset({"all"}), set()) - {"metertap"}


def test_a_server_gets_what_it_exports_with(servers: set[str]) -> None:
    assert {"wrapt", "plotly", "opentelemetry-exporter-otlp-proto-http"} <= servers


def test_nothing_a_server_gets_is_noticed_by_the_program(servers: set[str]) -> None:
    assert not servers & set(CHANGES_THE_HOST)


def test_nothing_a_server_gets_is_loaded_by_others(servers: set[str]) -> None:
    loaded = {
        f"{name}: {point.group} {point.name}"
        for name in servers
        for point in metadata.distribution(name).entry_points
        if point.group in LOADED_BY_OTHERS
    }
    assert not loaded


def test_the_core_has_four_dependencies() -> None:
    core = {
        Requirement(text).name
        for text in metadata.requires("metertap") or ()
        if "extra" not in text and "python_version" not in text
    }
    assert core == {
        "opentelemetry-api",
        "opentelemetry-exporter-prometheus",
        "opentelemetry-sdk",
        "wrapt",
    }
