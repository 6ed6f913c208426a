"""Certificates of an authority that lives for one test."""

from __future__ import annotations

from pathlib import Path

import pytest


class Authority:
    """An authority, its own certificate in `path`, and those that it signs in the same folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        trustme = pytest.importorskip("trustme", reason="trustme makes certificates")
        self._folder = folder
        self._authority = trustme.CA()
        self.path = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.path))

    def issue(self, *names: str, to: str = "server") -> Path:
        """Sign a certificate; its chain and key are in one file."""
        path = self._folder / f"{to}.pem"
        path.unlink(missing_ok=True)
        issued = self._authority.issue_cert(*names)
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(0o600)
        return path
