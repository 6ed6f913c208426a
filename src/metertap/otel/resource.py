"""What this program calls itself, by OpenTelemetry's resource conventions.

`service.name` is what an operator would call the program: its console script, its module, its
file; never `unknown_service`. What the operator said (`OTEL_SERVICE_NAME`,
`OTEL_RESOURCE_ATTRIBUTES`, a keyword) wins.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import PurePath
from typing import NamedTuple

from opentelemetry.sdk.resources import Resource

from metertap._version import __version__
from metertap.faults import guarded
from metertap.settings.settings import Settings

_LAUNCHERS = frozenset(
    {"uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastmcp", "mcp", "uwsgi"}
)
_COMMANDS = frozenset({"run", "dev", "serve"})  # of launchers
_GENERIC_STEMS = frozenset({"__main__", "main", "app", "server", "run", "index", "asgi", "wsgi"})
_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_APPLICATION = re.compile(rf"(?P<where>{_NAME}|.+\.py)(:{_NAME}(\(.*\))?)?")

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
    program = _program(program_arguments())
    found["service.name"] = name or program.name
    version = given.get("service.version")
    if version is None:
        with guarded("service.version"):
            version = _version(program)
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


def program_arguments() -> list[str]:
    """The command after the interpreter and its flags: `["-m", "shop.server", …]` or a path.

    From `sys.orig_argv`, because `sys.argv` is not there yet when a site hook starts us.
    """
    arguments = list(getattr(sys, "orig_argv", sys.argv))[1:]
    while arguments and arguments[0].startswith("-") and arguments[0] != "-":
        flags = arguments.pop(0)
        if flags == "--check-hash-based-pycs":
            del arguments[:1]
        elif not flags.startswith("--") and (last := re.search("[mcWX]", flags)):
            # Short flags may stand together, and a value with its flag: `-um shop`, `-mshop`.
            value = flags[last.end() :]
            if last.group() in "mc":
                return [f"-{last.group()}", *filter(None, [value]), *arguments]
            if not value:
                del arguments[:1]
    return arguments


class _Program(NamedTuple):
    """What is run: a module, a console script, or (neither) a file or a line of code."""

    name: str
    module: bool = False
    script: bool = False


def _program(arguments: list[str]) -> _Program:
    if not arguments or arguments[0] in {"-c", "-"}:
        return _Program(PurePath(sys.executable or "python").stem or "python")
    if arguments[0] == "-m":
        found, rest = _Program("".join(arguments[1:2]) or "python", module=True), arguments[2:]
    else:
        name = _file_name(arguments[0])
        found, rest = _Program(name, script=not arguments[0].endswith(".py")), arguments[1:]
    if found.name in _LAUNCHERS:
        return _application(rest) or found
    return found


def _file_name(path: str) -> str:
    pure = PurePath(os.path.abspath(path))
    stem = pure.stem if pure.suffix in {".py", ".pyz", ".exe", ".pyw"} else pure.name
    parent = pure.parent.name
    if stem == "__main__":
        return parent or stem
    return f"{parent}-{stem}" if stem in _GENERIC_STEMS and parent else stem


def _application(arguments: list[str]) -> _Program | None:
    """What a launcher launches, by its looks: `module:attribute`, or else a module or a file."""
    # After a flag there may be the flag's value; a launcher's own commands are no module.
    positional = [
        argument
        for flag, argument in zip(["", *arguments], arguments, strict=False)
        if not flag.startswith("-") and argument not in _COMMANDS
    ]
    for argument in [*(item for item in arguments if ":" in item), *positional]:
        if match := _APPLICATION.fullmatch(argument):
            where = match["where"]
            if where.endswith(".py"):
                return _Program(_file_name(where))
            return _Program(where, module=True)
    return None


@functools.lru_cache(maxsize=8)  # every document asks, and the answer is in many small files
def _version(program: _Program) -> str | None:
    """The version of the distribution that the program comes from."""
    if program.script:
        for script in metadata.entry_points(group="console_scripts", name=program.name):
            if script.dist is not None:
                return script.dist.version
    if program.module:
        for name in (program.name.partition(".")[0], program.name):
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
    return None
