"""The server's side of TLS, by the standard library. Certificates may change at any time."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from pathlib import Path

from metertap import faults, locks

_MOST_BYTES = 16 * 2**20
"""The longest file: a system's bundle of authorities has a few hundred kilobytes."""


class ServerTls:
    """The TLS context of an endpoint. Changed files are read for the next connection."""

    def __init__(self, certfile: Path, keyfile: Path | None, client_cafile: Path | None) -> None:
        """Read the files. Raises ValueError with a reason that contains no part of a key."""
        self._certfile = certfile
        self._keyfile = keyfile
        self._client_cafile = client_cafile
        self._reading = locks.lock()
        self._stamps = self._stamps_now()
        self._context = self._read()

    def wrapped(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the connection in TLS, before its handshake. Raises OSError."""
        stamps = self._stamps_now()
        if stamps != self._stamps:
            with self._reading:
                self._renew(stamps)
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _renew(self, stamps: list[tuple[int, int, int] | None]) -> None:
        self._stamps = stamps
        try:
            self._context = self._read()
        except ValueError as error:
            faults.warn("%s; the certificate of before is shown", error)

    def _read(self) -> ssl.SSLContext:
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for path in filter(None, (self._certfile, self._keyfile, self._client_cafile)):
            # A pipe would be waited for, and a device read without end, by the thread that serves.
            try:
                found = os.stat(path)
                why = None if stat.S_ISREG(found.st_mode) else "it is no regular file"
                if found.st_size > _MOST_BYTES:
                    why = "it is too long"
            except OSError as error:  # it is missing, or in a folder that this user may not enter
                why = error.strerror
            if why is not None:
                kind = "key" if path == self._keyfile else "certificate"
                raise ValueError(f"the {kind} {path} cannot be used: {why}")
        # What OpenSSL says of a wrong file may name neither the file nor what is missing in it.
        key = self._keyfile or "the same file, as METERTAP_TLS_KEYFILE is not set"
        named = f"{self._certfile} with its key in {key}"
        try:
            made.load_cert_chain(self._certfile, self._keyfile, _refuse_password)
            if self._client_cafile is not None:
                named = f"{self._client_cafile}"
                made.load_verify_locations(self._client_cafile)
                made.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise ValueError(f"the certificate {named} cannot be used: {reason}") from None
        return made

    def _stamps_now(self) -> list[tuple[int, int, int] | None]:
        """Return values that differ once a file was replaced."""
        return [
            _stamp(path)
            for path in (self._certfile, self._keyfile, self._client_cafile)
            if path is not None
        ]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _refuse_password() -> bytes:
    raise ValueError("the key is encrypted")  # OpenSSL would ask at the terminal
