"""The credentials that a command sends, and those by which it recognises a process.

A token goes only to processes of this user that ask for one, to this machine, and over TLS. It
goes to another machine in clear only if the command line names that machine and the token.
"""

from __future__ import annotations

import ipaddress
import ssl
from base64 import b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from metertap.runtime.running import Running
from metertap.settings import secret, settings
from metertap.settings.secret import Secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """The token and certificates for one process. Their files are read when it is asked."""

    token_file: Path | None = None
    token: Secret | None = None
    """The token; where it comes from the environment, it is sent only where that is safe."""
    authorities: Path | None = None
    """The authorities that must have signed the process's certificate, instead of the system's."""
    own_certificate: Path | None = None
    """The certificate that the process must show, whatever its signature and name."""
    certfile: Path | None = None
    """The client's own certificate."""
    keyfile: Path | None = None
    user: str = ""
    """The user whose password the token is, where the process asks for a password."""
    is_for_own: bool = False
    """Whether no option named the token: it is only for processes of this user or the system."""

    def authorization(self) -> str | None:
        """Return the Authorization header. Raises ValueError if the token is unreadable."""
        token = self.token
        if self.token_file is not None:
            try:
                token = secret.read(self.token_file)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise ValueError(
                    f"the token in {self.token_file} cannot be read: {reason}"
                ) from None
        if token is None:
            return None
        if self.user:
            return f"Basic {b64encode(f'{self.user}:{token.value}'.encode()).decode()}"
        return f"Bearer {token.value}"

    def tls(self) -> ssl.SSLContext:
        """Return the client's side of TLS. Raises ValueError where a file cannot be used."""
        try:
            made = ssl.create_default_context(cafile=self.authorities)
            if self.certfile is not None:
                made.load_cert_chain(self.certfile, self.keyfile, _refuse_password)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"a certificate cannot be used: {reason}") from None
        if self.own_certificate is not None and self.authorities is None:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE  # `check` compares it instead
        return made

    def check(self, line: ssl.SSLSocket) -> None:
        """Check that the process shows its own certificate. Raises ValueError."""
        if self.own_certificate is None or self.authorities is not None:
            return
        try:
            first, end, _ = self.own_certificate.read_text("ascii").partition(_END)
            wanted = ssl.PEM_cert_to_DER_cert(first[first.index(_BEGIN) :] + end)
        except (OSError, ValueError):
            raise ValueError(f"no certificate can be read in {self.own_certificate}") from None
        if line.getpeercert(binary_form=True) != wanted:
            raise ValueError(f"it does not show the certificate in {self.own_certificate}")


_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def _refuse_password() -> bytes:
    raise ValueError("the key is encrypted")  # OpenSSL would ask at the terminal


def for_registered(given: Credentials, process: Running) -> Credentials:
    """Return the credentials for a process of this user, and the certificate it must show."""
    certificate = process.certificate_file and Path(process.certificate_file)
    shown = replace(given, own_certificate=certificate or None)
    if not process.asks_token:
        return replace(shown, token_file=None)
    if given.token_file is not None:
        return shown
    shown = replace(shown, is_for_own=True)
    if process.token_file is not None:
        return replace(shown, token_file=Path(process.token_file))
    found = settings.read()
    return replace(shown, token_file=found.token_file, token=found.token)


def for_address(given: Credentials, address: str, token: str) -> Credentials:
    """Return the credentials for an address on the command line; `token` is the one in it.

    Raises ValueError for a malformed address or token.
    """
    if given.token_file is not None:
        return given
    if token:
        return replace(given, token=secret.parse(token))
    if not _is_safe(urlsplit(address)):
        return given
    found = settings.read()
    return replace(given, token_file=found.token_file, token=found.token, is_for_own=True)


def _is_safe(url: SplitResult) -> bool:
    """Return whether nothing between here and that address can read what is sent."""
    if url.scheme in {"https", "unix"} or url.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:
        return False
