"""Makes the pages of the site that are read off the code, while it builds (`hooks` of mkdocs.yml).

They are not kept in the repository, so they cannot disagree with what is published.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from metertap import catalogue

_SCHEMA = Path(__file__).parents[1] / "exporters" / "metertap_exporters" / "schema.json"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that mkdocs found in the folder."""
    for name, content in (("document.md", document()), ("catalogue.md", instruments())):
        files.append(File.generated(config, name, content=content))
    return files


def document() -> str:
    """Return the page about the JSON document, from its schema."""
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    lines = ["# The JSON document", "", schema["description"], ""]
    lines += [
        "`GET /schema.json` serves the JSON Schema that this page is made from. "
        "Every field below is always there, unless its type says otherwise.",
        "",
        *_table("", schema["properties"]),
    ]
    for name, definition in schema["$defs"].items():
        if definition.get("properties"):
            lines += [f"## {name}", "", *_table("", definition["properties"])]
    return "\n".join(lines)


def _table(above: str, properties: dict[str, Any]) -> Iterator[str]:
    yield from ("| field | type | meaning |", "|---|---|---|")
    yield from _rows(above, properties)
    yield ""


def _rows(above: str, properties: dict[str, Any]) -> Iterator[str]:
    for name, field in properties.items():
        path = f"{above}{name}"
        yield f"| `{path}` | {_type(field)} | {field.get('description', '')} |"
        yield from _rows(f"{path}.", field.get("properties", {}))


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return name.replace("_or_null", " or null").replace("_", " ")
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kinds = field.get("type", "any")
    text = kinds if isinstance(kinds, str) else " or ".join(kinds)
    inner = field.get("items") or field.get("additionalProperties")
    return f"{text} of {_type(inner)}" if isinstance(inner, dict) else text


def instruments() -> str:
    """Return the page with every instrument's name, unit, description and bucket bounds."""
    lines = ["# Instruments", "", "[metrics.md](metrics.md) has their attributes.", ""]
    lines += ["| instrument | unit | measures | bucket bounds |", "|---|---|---|---|"]
    for metric in vars(catalogue).values():
        if isinstance(metric, catalogue.Metric):
            bounds = ", ".join(f"{bound:g}" for bound in metric.buckets)
            lines.append(f"| `{metric.name}` | `{metric.unit}` | {metric.description} | {bounds} |")
    return "\n".join(lines)
