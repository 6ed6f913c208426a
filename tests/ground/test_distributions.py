"""Versions of installed distributions, read from the names of folders."""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from metertap import distributions


def test_versions_are_those_of_the_metadata() -> None:
    for name in ("opentelemetry-sdk", "wrapt", "Pytest", "dogpile.cache", "not-installed-at-all"):
        try:
            expected = metadata.version(name)
        except metadata.PackageNotFoundError:
            expected = None
        assert distributions.version(name) == expected, name


def test_what_is_installed_later_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert distributions.version("metertap-test-shop") is None
    (tmp_path / "metertap_test_shop-1.5.dist-info").mkdir()
    assert distributions.version("metertap-test-shop") == "1.5"


def test_distributions_in_archives_and_of_older_kinds_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "shop.zip"
    with zipfile.ZipFile(archive, "w") as written:
        text = "Metadata-Version: 2.1\nName: metertap-test-zipped\nVersion: 3.0\n"
        written.writestr("metertap_test_zipped-3.0.dist-info/METADATA", text)
    egg = tmp_path / "folder" / "metertap_test_egg.egg-info"
    egg.mkdir(parents=True)
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: metertap-test-egg\nVersion: 4.0\n")
    monkeypatch.syspath_prepend(str(archive))
    monkeypatch.syspath_prepend(str(tmp_path / "folder"))
    assert distributions.version("metertap-test-zipped") == "3.0"
    assert distributions.version("metertap-test-egg") == "4.0"
