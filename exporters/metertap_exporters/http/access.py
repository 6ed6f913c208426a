"""Access to an endpoint: open to everyone who reaches it, or by token or client certificate.

A browser asks for a user name and a password, which is the token.
"""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from metertap import faults
from metertap.settings import secret
from metertap.settings.secret import Secret
from metertap.settings.settings import Settings
from metertap_exporters.http.app import StartResponse, WsgiApp, json_error, send
from metertap_exporters.http.tls import ServerTls

_CHALLENGES = tuple(
    ("WWW-Authenticate", f'{scheme} realm="metertap"') for scheme in ("Basic", "Bearer")
)


class Access(NamedTuple):
    """The conditions of access to an endpoint. Files are read at each request, not before."""

    token: Secret | None = None
    token_file: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    client_cafile: Path | None = None
    problem: str | None = None
    """The reason why no access is allowed."""

    @classmethod
    def by(cls, settings: Settings) -> "Access":
        """Return the conditions of access by these settings."""
        return cls(
            settings.token,
            settings.token_file,
            settings.tls_certfile,
            settings.tls_keyfile,
            settings.tls_client_cafile,
            settings.access_problem,
        )

    @property
    def asks_token(self) -> bool:
        """Whether a token must be shown."""
        return self.token is not None or self.token_file is not None

    @property
    def is_open(self) -> bool:
        """Whether everyone who reaches the endpoint may read it."""
        return not self.asks_token and self.client_cafile is None

    def guarded(self, app: WsgiApp) -> WsgiApp:
        """Put the check of the token before an application. Raises ValueError without a token."""
        if self.problem is not None:
            raise ValueError(self.problem)
        if not self.asks_token:
            return app
        try:
            token = self.current()
            exposed = self.token_file and secret.exposure(self.token_file)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"the token in {self.token_file} cannot be read: {reason}") from None
        if exposed:
            faults.warn_once("token file", "the token file %s %s", self.token_file, exposed)
        if token.is_short:
            faults.warn_once("token", "the token is short: others may guess it")
        return TokenCheck(app, self.current)

    def current(self) -> Secret:
        """Return the present token: its file may change at any time. Raises OSError, ValueError."""
        if self.token_file is not None:
            return secret.read(self.token_file)
        if self.token is None:
            raise ValueError("no token is set")
        return self.token

    def tls(self) -> ServerTls | None:
        """Return the server's side of TLS, if a certificate is set. Raises ValueError."""
        if self.certfile is None:
            return None
        return ServerTls(self.certfile, self.keyfile, self.client_cafile)


OPEN = Access()
"""Access without conditions."""


class TokenCheck:
    """WSGI middleware that answers only requests with the token."""

    def __init__(self, app: WsgiApp, token: Callable[[], Secret]) -> None:
        # Here, since most processes have no token, and this loads OpenSSL; and not in a serving
        # thread: a child that is forked meanwhile could never import it.
        from hmac import compare_digest

        self._app = app
        self._token = token
        self._is_equal = compare_digest

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if self._is_shown(environ.pop("HTTP_AUTHORIZATION", "")):
            return self._app(environ, start_response)
        refusal = json_error(401, "a token is needed: Authorization: Bearer TOKEN")
        refusal.headers = _CHALLENGES
        return send(refusal, environ, start_response)

    def _is_shown(self, header: str) -> bool:
        shown = _shown_in(header)
        if shown is None:
            return False
        try:
            token = self._token()
        except (OSError, ValueError) as error:
            faults.fault("token", error)
            return False
        return self._is_equal(shown, token.value.encode())


def _shown_in(header: str) -> bytes | None:
    """Return the token in the value of an `Authorization` header, if there is one."""
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value.encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            _, colon, password = b64decode(value, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return None
        return password if colon else None
    return None
