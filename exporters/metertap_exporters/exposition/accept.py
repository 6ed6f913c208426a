"""The exposition format that a scraper prefers, by its `Accept` header.

Every header gets an answer: what cannot be read is ignored, and the format that every scraper can
read is the last resort.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION = re.compile(r"(\d{1,4})(?:\.\d{1,4}){0,2}", re.ASCII)
_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)
_ALLOW_UTF_8 = "allow-utf-8"
_LONGEST = 1024
"""A longer header is ignored: reading it would hold the program's own threads up."""


@dataclass(frozen=True, slots=True)
class Format:
    """One text format: the `Content-Type` of its answers, and whether it is OpenMetrics."""

    content_type: str
    is_openmetrics: bool = False


PLAIN = Format("text/plain; version=0.0.4; charset=utf-8")
"""The plain format, which every scraper can read."""


def accepted(header: str | None) -> Format:
    """Return the format that the client prefers; of equals, the first one."""
    best, best_quality = PLAIN, 0.0
    for media_range in _parts(header):
        media_type, *given = (part.strip() for part in media_range.split(";"))
        parameters = {
            name.strip().lower(): value.strip().strip('"')
            for name, _, value in (item.partition("=") for item in given)
        }
        quality = _quality(parameters.get("q", "1"))
        found = _format(media_type.lower(), parameters) if quality > best_quality else None
        if found is not None:
            best, best_quality = found, quality
    return best


def takes_gzip(header: str | None) -> bool:
    """Return whether an `Accept-Encoding` names gzip and does not refuse it."""
    for coding in _parts(header):
        name, *given = (part.strip().lower() for part in coding.split(";"))
        if name == "gzip":
            return not any(_is_refusal(item) for item in given)
    return False


def _parts(header: str | None) -> list[str]:
    return [] if header is None or len(header) > _LONGEST else header.split(",")


def _is_refusal(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and not _quality(value.strip())


def _quality(value: str) -> float:
    return float(value) if _QUALITY.fullmatch(value) else 0.0


def _format(media_type: str, parameters: dict[str, str]) -> Format | None:
    if media_type in {"text/plain", "text/*", "*/*"}:
        is_openmetrics = False
    elif media_type == "application/openmetrics-text":
        is_openmetrics = True
    else:
        return None
    version = parameters.get("version")
    if version is None:
        return Format(_openmetrics(), is_openmetrics=True) if is_openmetrics else PLAIN
    matched = _VERSION.fullmatch(version)
    if matched is None:
        return None
    is_old = int(matched[1]) < 1
    if int(matched[1]) > 1 or (is_old and is_openmetrics):
        return None
    if is_old:
        return PLAIN
    # All names here are those that either scheme leaves as they are.
    escaping = parameters.get("escaping")
    scheme = f"; escaping={_ALLOW_UTF_8 if escaping == _ALLOW_UTF_8 else 'underscores'}"
    if is_openmetrics:
        return Format(_openmetrics() + scheme, is_openmetrics=True)
    return Format(f"text/plain; version=1.0.0; charset=utf-8{scheme}")


def _openmetrics() -> str:
    return "application/openmetrics-text; version=1.0.0; charset=utf-8"
