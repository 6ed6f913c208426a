"""What this program calls itself, by OpenTelemetry's resource conventions.

`service.name` is what an operator would call the program: its console script, its module, its
file; never `unknown_service`. What the operator said (`OTEL_SERVICE_NAME`,
`OTEL_RESOURCE_ATTRIBUTES`, a keyword) wins.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import PurePath

from opentelemetry.sdk.resources import Resource

from metertap._version import __version__
from metertap.guard import guarded
from metertap.settings import Settings

_LAUNCHERS = frozenset(
    {"uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastmcp", "mcp", "uwsgi"}
)
_GENERIC_STEMS = frozenset({"__main__", "main", "app", "server", "run", "index", "asgi", "wsgi"})
_FLAGS_WITH_VALUE = frozenset({"-W", "-X", "--check-hash-based-pycs"})
_APPLICATION = re.compile(r"^(?P<module>[\w./\\-]+?)(?:\.py)?(?::[\w.()]+)?$")

_instance_id = str(uuid.uuid4())


def forked() -> None:
    """A forked child is an instance of its own."""
    global _instance_id
    _instance_id = str(uuid.uuid4())


def resource(settings: Settings) -> Resource:
    """The resource of a provider that metertap makes."""
    given = settings.resource_from_environment
    attributes: dict[str, str | int] = {
        "telemetry.distro.name": "metertap",
        "telemetry.distro.version": __version__,
        "process.pid": os.getpid(),
    }
    attributes.update((key, value) for key, value in identity(settings).items() if key not in given)
    if settings.service_name is not None:  # OTEL_SERVICE_NAME wins over the attribute list
        attributes["service.name"] = settings.service_name
    return Resource.create(attributes)


def identity(settings: Settings) -> dict[str, str]:
    """`service.name`, `service.instance.id` and, where it is known, `service.version`."""
    given = settings.resource_from_environment
    name = settings.service_name or given.get("service.name")
    found = {"service.instance.id": given.get("service.instance.id", _instance_id)}
    arguments = _program_arguments()
    program = _program(arguments)
    found["service.name"] = name or program
    version = given.get("service.version")
    if version is None:
        with guarded("service.version"):
            version = _version(program, arguments)
    if version is not None:
        found["service.version"] = version
    return found


def short_identity(settings: Settings) -> dict[str, str]:
    """The same under the document's names: `name`, `version`, `instance_id`."""
    return shortened(identity(settings))


def shortened(attributes: Mapping[str, str]) -> dict[str, str]:
    """Resource attributes `service.*` under the document's names."""
    return {
        key.removeprefix("service.").replace(".", "_"): text for key, text in attributes.items()
    }


def _program_arguments() -> list[str]:
    """The command after the interpreter and its flags: `["-m", "shop.server", …]` or a path.

    From `sys.orig_argv`, because `sys.argv` is not there yet when a site hook starts us.
    """
    arguments = list(getattr(sys, "orig_argv", sys.argv))[1:]
    while arguments and arguments[0].startswith("-") and arguments[0] not in {"-m", "-c", "-"}:
        flag = arguments.pop(0)
        if flag in _FLAGS_WITH_VALUE and arguments:
            arguments.pop(0)
    return arguments


def _program(arguments: list[str]) -> str:
    if not arguments or arguments[0] in {"-c", "-"}:
        return PurePath(sys.executable or "python").stem or "python"
    if arguments[0] == "-m":
        name, rest = (arguments[1] if len(arguments) > 1 else "python"), arguments[2:]
    else:
        name, rest = _file_name(arguments[0]), arguments[1:]
    if name in _LAUNCHERS:
        return _application(rest) or name
    return name


def _file_name(path: str) -> str:
    pure = PurePath(os.path.abspath(path))
    stem = pure.stem if pure.suffix in {".py", ".pyz", ".exe", ".pyw"} else pure.name
    parent = pure.parent.name
    if stem == "__main__":
        return parent or stem
    return f"{parent}-{stem}" if stem in _GENERIC_STEMS and parent else stem


def _application(arguments: list[str]) -> str | None:
    """What a launcher launches: the first `module:attribute`, or file, among its arguments."""
    for argument in arguments:
        if argument.startswith("-") or argument in {"run", "dev"}:
            continue
        if match := _APPLICATION.match(argument):
            module = match["module"]
            if os.sep in module or argument.endswith(".py") or ".py:" in argument:
                return _file_name(module + ".py")
            return module
    return None


def _version(program: str, arguments: list[str]) -> str | None:
    """The version of the distribution that the program comes from."""
    for script in metadata.entry_points(group="console_scripts", name=program):
        if script.dist is not None:
            return script.dist.version
    if arguments[:1] == ["-m"]:
        for name in (program.partition(".")[0], program):
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
    return None
