"""The resource of a provider of ours is what the SDK makes of the same attributes."""

from __future__ import annotations

import importlib.metadata as metadata
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource, ResourceDetector

from metertap.otel import resource
from metertap.settings import settings

pytestmark = pytest.mark.sdk


class Room(ResourceDetector):
    """A detector that a program has installed."""

    def detect(self) -> Resource:
        return Resource({"room": "cellar"})


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=till,telemetry.sdk.language=other,a=%20b"},
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=till,bad", "OTEL_SERVICE_NAME": "desk"},
        {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "room"},
        {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": ""},
    ],
)
def test_it_is_the_one_that_the_sdk_makes(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    found = metadata.entry_points

    def with_ours(**asked: Any) -> Any:
        if asked.get("name") == "room":
            return [SimpleNamespace(load=lambda: Room)]
        return found(**asked)

    monkeypatch.setattr("opentelemetry.util._importlib_metadata.entry_points", with_ours)
    monkeypatch.setattr(metadata, "entry_points", with_ours)
    made = resource.resource(settings.read({}))
    theirs = Resource.create({key: made.attributes[key] for key in resource_keys()})
    assert dict(made.attributes) == dict(theirs.attributes)
    assert made.schema_url == theirs.schema_url
    assert ("room" in made.attributes) == ("room" in said.values())


def resource_keys() -> list[str]:
    """What metertap itself says of a process."""
    distro = ["telemetry.distro.name", "telemetry.distro.version"]
    return [*distro, "process.pid", "service.name", "service.instance.id"]
