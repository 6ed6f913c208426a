"""The resource of this program, by OpenTelemetry's conventions.

`service.name` is what an operator would call the program: its console script, module or file; never
`unknown_service`. A name that the operator sets (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, a
keyword) takes precedence.
"""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metertap import distributions
from metertap._version import __version__
from metertap.faults import guarded
from metertap.labels import encodable
from metertap.settings.program import Program, arguments, described
from metertap.settings.program import name as name_of_program
from metertap.settings.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_instance_id = str(uuid.uuid4())


def forked() -> None:
    """Give a forked child an instance id of its own."""
    global _instance_id
    _instance_id = str(uuid.uuid4())


def resource(settings: Settings) -> Resource:
    """Return the resource for a provider of metertap's own."""
    from opentelemetry.sdk.environment_variables import OTEL_EXPERIMENTAL_RESOURCE_DETECTORS
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.version import __version__ as sdk_version

    given = settings.resource_from_environment
    attributes: dict[str, str | int] = {
        "telemetry.distro.name": "metertap",
        "telemetry.distro.version": __version__,
        "process.pid": os.getpid(),
    }
    attributes.update((key, value) for key, value in identity(settings).items() if key not in given)
    if settings.service_name is not None:  # it takes precedence over the attributes
        attributes["service.name"] = settings.service_name
    if os.environ.get(OTEL_EXPERIMENTAL_RESOURCE_DETECTORS):
        try:
            found = Resource.create(attributes)
            return Resource(_exportable(found), found.schema_url)
        except RuntimeError:  # the process ends, and the SDK can start no detectors any more
            pass
    # What `create` returns without detectors: it runs the one for the process in a thread, and
    # imports what that needs.
    own = Resource(
        {
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
        }
    )
    said = Resource(_exportable(OTELResourceDetector().detect()))
    return own.merge(said).merge(Resource(attributes))


def _exportable(found: Resource) -> dict[str, Any]:
    """Return the detectors' attributes, encodable: file names and variables may be anything."""

    def exportable(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(exportable, value))
        return encodable(value) if isinstance(value, str) else value

    return {encodable(key): exportable(value) for key, value in found.attributes.items()}


def instance_id(settings: Settings) -> str:
    """Return `service.instance.id`."""
    return settings.resource_from_environment.get("service.instance.id", _instance_id)


def identity(settings: Settings) -> dict[str, str]:
    """Return `service.name`, `service.instance.id` and, where it is known, `service.version`."""
    given = settings.resource_from_environment
    name = settings.service_name or given.get("service.name")
    found = {"service.instance.id": instance_id(settings)}
    program = described(arguments())
    found["service.name"] = name or name_of_program()
    version = given.get("service.version")
    if version is None:
        with guarded("service.version"):
            version = _version(program)
    if version is not None:
        found["service.version"] = version
    return found


def short_identity(settings: Settings) -> dict[str, str]:
    """Return the identity under the document's names: `name`, `version`, `instance_id`."""
    return shortened(identity(settings))


def shortened(attributes: Mapping[str, str]) -> dict[str, str]:
    """Rename resource attributes `service.*` to the document's names."""
    return {
        key.removeprefix("service.").replace(".", "_"): encodable(text)
        for key, text in attributes.items()
    }


@functools.lru_cache(maxsize=8)  # every document needs it, and it takes reading many small files
def _version(program: Program) -> str | None:
    """Return the version of the distribution that the program comes from, if there is one."""
    if program.script:
        from importlib import metadata

        for script in metadata.entry_points(group="console_scripts", name=program.name):
            if script.dist is not None:
                return script.dist.version
    if program.module:
        for name in (program.name.partition(".")[0], program.name):
            version = distributions.version(name)
            if version is not None:
                return version
    return None
