"""The structure of the code: which room may import which, read from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "metertap": ROOT / "src" / "metertap",
    "metertap_instrumentation": ROOT / "instrumentation" / "metertap_instrumentation",
    "metertap_exporters": ROOT / "exporters" / "metertap_exporters",
}
GROUND = {
    "_version",
    "catalogue",
    "descriptors",
    "distributions",
    "faults",
    "http_answers",
    "importing",
    "install_command",
    "interpreters",
    "labels",
    "locks",
    "native",
    "outcomes",
    "pacing",
    "parsing",
    "promql",
    "regular",
    "replacing",
    "signal_mask",
    "text",
    "threads",
    "unmocked",
    "unavailable",
    "variables",
}
"""Modules of `metertap` that stand alone: every room may import them, and they import none."""

# Each room, and the rooms that it may import beside the ground. Whoever adds an arrow adds it here.
ARROWS: dict[str, set[str]] = {
    "ground": set(),
    "settings": set(),
    "recording": {"weight"},
    "patching": set(),
    "otel": {"recording", "settings"},
    "alerts": {"recording"},
    "history": {"recording"},
    "state": {"recording", "settings"},
    "tables": set(),
    "weight": set(),
    "measuring": {"patching", "recording", "state", "weight"},
    "caching": {"measuring", "patching", "recording", "state"},
    "costs": {"measuring", "recording", "state"},
    "instrumentation": {
        "caching",
        "costs",
        "measuring",
        "otel",
        "patching",
        "recording",
        "state",
        "weight",
    },
    "workers": {"recording", "settings"},
    "exporters": {
        "alerts",
        "costs",
        "history",
        "otel",
        "recording",
        "settings",
        "state",
        "tables",
        "weight",
        "workers",
    },
    "runtime": {
        "alerts",
        "exporters",
        "history",
        "instrumentation",
        "otel",
        "patching",
        "recording",
        "settings",
        "state",
        "tables",
        "workers",
    },
    "run": {"instrumentation", "runtime", "settings", "state"},
    "collector": {"caching", "exporters", "measuring", "recording", "runtime", "state"},
    "cli": {
        "alerts",
        "exporters",
        "history",
        "instrumentation",
        "run",
        "runtime",
        "settings",
        "tables",
        "weight",
    },
    "testing": {"runtime", "tables"},
    # `import metertap` names what is public; `python -m metertap` is the command line.
    "door": {"caching", "cli", "costs", "collector", "exporters", "measuring", "runtime"},
}


def modules() -> dict[str, Path]:
    """Every module of the product, by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found[".".join((package, *parts))] = path
    return found


MODULES = modules()
READ: dict[str, set[str]] = {}


def room_of(module: str) -> str:
    package, _, rest = module.partition(".")
    if package != "metertap":
        return package.removeprefix("metertap_")
    room = rest.partition(".")[0]
    if room in {"", "__main__"}:
        return "door"
    return "ground" if room in GROUND else room


def imported_by(module: str) -> Iterator[str]:
    """The product's modules that `module` imports: anywhere in it, for types alone as well."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES:
                    yield inner
                elif node.module in MODULES:
                    yield node.module


def imports() -> dict[str, set[str]]:
    """What each module of the product imports. To read all of them takes long.

    No `functools.cache`: tests that run in the same process later would find it measured.
    """
    if not READ:
        READ.update({module: set(imported_by(module)) - {module} for module in MODULES})
    return READ


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return None


def test_every_module_is_in_a_room() -> None:
    outside = {module for module in MODULES if room_of(module) not in ARROWS}
    assert not outside


def test_imports_go_one_way() -> None:
    wrong = sorted(
        f"{module} ({room_of(module)}) imports {other} ({room_of(other)})"
        for module, others in imports().items()
        for other in others
        if room_of(other) not in {room_of(module), "ground", "door", *ARROWS[room_of(module)]}
        or (room_of(other) == "door" and other != "metertap")
    )
    assert not wrong, "\n".join(wrong)


def test_nothing_below_the_door_imports_the_public_names() -> None:
    # The demo's server and the examples are programs that use metertap as any program does.
    inside = sorted(
        module
        for module, others in imports().items()
        if "metertap" in others and room_of(module) != "door" and ".cli.demo." not in module
    )
    assert not inside


def test_rooms_are_on_floors() -> None:
    assert circle(ARROWS) is None


def test_no_file_is_in_an_import_circle() -> None:
    assert circle(imports()) is None


def test_every_allowed_arrow_is_used() -> None:
    used = {(room_of(module), room_of(other)) for module in MODULES for other in imports()[module]}
    unused = {
        f"{room} → {other}"
        for room, others in ARROWS.items()
        for other in others
        if (room, other) not in used
    }
    assert not unused
