"""Addresses of alert receivers. They may contain credentials, and are never shown whole."""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

from base64 import b64encode
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Address(NamedTuple):
    """An HTTP address. Its text is scheme, host and port: the path of a webhook is a secret."""

    scheme: str
    host: str
    port: int
    target: str
    """The path and query of the address."""
    authorization: str | None = None
    """The value of the header that sends the address's credentials."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        hidden = "" if self.target in {"", "/"} else "/…"
        return f"{self.scheme}://{host}:{self.port}{hidden}"

    def __repr__(self) -> str:
        return str(self)


def parse(value: object) -> Address:
    """Parse an address. Error messages contain no part of it."""
    text = str(value).strip()
    wrong = ValueError("an address such as http://127.0.0.1:9093 is needed")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise wrong
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise wrong
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode()}"
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "https" else 80),
        target=parts.path + (f"?{parts.query}" if parts.query else ""),
        authorization=authorization,
    )
