"""The types of the document: what the JSON schema says, no more and no less."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import metertap
from metertap import unavailable
from metertap_exporters.json.document import SCHEMA_VERSION
from metertap_exporters.json.reader import schema
from metertap_exporters.json.shape import Document
from support.checked import check

SCHEMA = schema()
PLAIN: dict[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return SCHEMA["$defs"][reference.rpartition("/")[2]] if reference else node


def differences(kind: Any, node: dict[str, Any], place: str) -> list[str]:
    """Where a declared type and a part of the schema say different things."""
    node = resolved(node)
    arguments = get_args(kind)
    optional = type(None) in arguments
    if optional:
        (kind,) = [item for item in arguments if item is not type(None)]
    variants = [resolved(item) for item in node.get("anyOf", [node])]
    types = {name for item in variants for name in listed(item.get("type", "string"))}
    found = [] if ("null" in types) == optional else [f"{place}: null"]
    node = next(item for item in variants if item.get("type") != "null")
    inner = [item for item in types if item != "null"]
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        if hints.keys() != node["properties"].keys():
            return [*found, f"{place}: {sorted(hints.keys() ^ node['properties'].keys())}"]
        if kind.__required_keys__ != set(node.get("required", ())):
            found.append(f"{place}: required")
        for name, hint in hints.items():
            found += differences(hint, node["properties"][name], f"{place}.{name}")
    elif get_origin(kind) is dict:
        value = get_args(kind)[1]
        found += differences(value, node["additionalProperties"], f"{place}[]")
    elif get_origin(kind) is list:
        found += differences(get_args(kind)[0], node["items"], f"{place}[]")
    elif get_origin(kind) is Literal:
        if list(get_args(kind)) != node.get("enum"):
            found.append(f"{place}: {get_args(kind)}")
    elif inner != [PLAIN[kind]]:
        found.append(f"{place}: {kind.__name__} or {inner}")
    return found


def listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def test_types_and_schema_agree() -> None:
    assert differences(Document, SCHEMA, "document") == []


def test_a_difference_would_be_seen() -> None:
    changed = {**SCHEMA, "properties": {**SCHEMA["properties"], "timestamp": {"type": "string"}}}
    assert differences(Document, changed, "document") == ["document.timestamp: float or ['string']"]
    del changed["properties"]["alerts"]
    assert differences(Document, changed, "document") == ["document: ['alerts']"]


def test_a_document_where_metertap_cannot_be_used_is_one() -> None:
    document = unavailable.get_all_metrics()
    check(document)
    assert document["schema_version"] == SCHEMA_VERSION
    assert document.keys() == metertap.get_all_metrics().keys()
