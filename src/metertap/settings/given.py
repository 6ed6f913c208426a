"""Settings as given by keywords, environment variables and a configuration file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from metertap.parsing import did_you_mean, nearest
from metertap.settings import config_file
from metertap.settings.table import (
    ALERTS,
    IN_ALERTS_TABLE,
    KEYWORDS,
    RUN_CHILDREN,
    TABLE,
    TABLES_IN_FILE,
)
from metertap.settings.telling import warn_once

_OTHER_VARIABLES = frozenset({config_file.VARIABLE, RUN_CHILDREN})
_PREFIX = "METERTAP_"
_SHARED_PREFIXES = ("METR", "METE", "METT", "PROMET", "PROMT", "PERFORMANCE_")
"""Prefixes that other programs use as well: only near misspellings are warned of."""
_MOST_TOLD = 20
"""The most unknown keys of a file that are reported: it may be any file, and each takes time."""

Given = dict[str, tuple[str, object]]
"""For each keyword, the name under which it was set, and the given value."""


def from_keywords(options: Mapping[str, Any], refused: list[str]) -> Given:
    """Take the settings among keywords, and report keywords that are none."""
    given: Given = {}
    for name, value in options.items():
        if name in TABLE:
            if value is not None:
                given[name] = (name, value)
        elif name not in KEYWORDS:
            refused.append(_tell_unknown(f"instrument({name}=…)", name, KEYWORDS))
    return given


def from_environment(environ: Mapping[str, str], refused: list[str]) -> Given:
    """Take the settings among environment variables, and report near misspellings."""
    # An empty variable is an unset one: OpenTelemetry's rule for its own variables.
    given: Given = {
        name: (variable, environ[variable])
        for name, (variable, _) in TABLE.items()
        if environ.get(variable, "").strip()
    }
    known = {variable for variable, _ in TABLE.values()} | _OTHER_VARIABLES
    for variable in (name for name in environ if name not in known):
        nearly_ours = variable.startswith(_SHARED_PREFIXES) and nearest(variable, known, 0.9)
        if variable.startswith(_PREFIX) or nearly_ours:
            refused.append(_tell_unknown(variable, variable, known))
    return given


def from_file(file: str, table: Mapping[str, Any], refused: list[str]) -> Given:
    """Take the settings in the table of a file, and report keys that are none."""
    known = {*TABLE, *TABLES_IN_FILE, ALERTS}
    given: Given = {
        name: (f"{name} in {file}", value) for name, value in table.items() if name in TABLE
    }
    for name in islice((name for name in table if name not in known), _MOST_TOLD):
        refused.append(_tell_unknown(f"{name} in {file}", name, known))
    alerts = table.get(ALERTS)
    if isinstance(alerts, Mapping):
        for key, name in IN_ALERTS_TABLE.items():
            if key in alerts:
                given[name] = (f"{ALERTS}.{key} in {file}", alerts[key])
    return given


def _tell_unknown(shown_name: str, name: str, known: Collection[str]) -> str:
    """Warn once of a setting that does not exist; return the text."""
    near = nearest(name, known)
    if name.startswith(_PREFIX):
        # METERTAP_WINDOW surely means METRICS_WINDOW_SIZE, and METERTAP_PORT is that of the page.
        meant = {variable.partition("_")[2].lower(): variable for variable in known}
        meant |= {keyword: variable for keyword, (variable, _) in TABLE.items()}
        meant["port"] = TABLE["json_port"][0]
        near = meant.get(nearest(name.removeprefix(_PREFIX).lower(), meant) or "")
    told = f"{shown_name} is no setting of metertap and is ignored"
    told += did_you_mean(near)
    warn_once(shown_name, "%s", told)
    return told
