"""Documents that are checked against the schema that metertap publishes."""

from __future__ import annotations

from typing import Any

import jsonschema

from metertap_exporters.json.reader import schema

_CHECKS = jsonschema.Draft202012Validator(schema())
"""`jsonschema.validate` checks the schema itself each time, which takes ten times as long as to
check a document. `test_json_document` does that."""


def check(document: Any) -> None:
    """Fail where a document is not what the schema says."""
    _CHECKS.validate(document)


def differences(document: Any) -> list[str]:
    """Say where a document is not what the schema says."""
    return [found.message for found in _CHECKS.iter_errors(document)]
