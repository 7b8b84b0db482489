"""The CTP that an operator names, in each form in which it can be had. Its content is made up."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import distribution

FILES = {
    "CTP/libraries/CTP.jar": b"not CTP",
    "CTP/libraries/util.jar": b"nor this",
    "CTP/pages/list.xsl": b"<page/>",
    "CTP/windows/CTP.exe": b"",
    "config/config.xml": b"<Configuration/>",
}


def make(directory: Path, kind: str) -> Path:
    if kind == "directory":
        for name, content in FILES.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)
        return directory
    path = directory / f"CTP-installer.{kind}"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
        archive.writestr("../../etc/passwd", b"out of the way")
    return path


@pytest.mark.parametrize("kind", ["jar", "zip", "directory"])
def test_what_is_below_ctp_is_packed_and_nothing_else(tmp_path: Path, kind: str) -> None:
    source = make(tmp_path, kind)
    output = tmp_path / "out.tar"
    distribution.pack(str(source), output)
    with tarfile.open(output) as archive:
        assert archive.getnames() == ["libraries/CTP.jar", "libraries/util.jar", "pages/list.xsl"]


def test_the_standin_is_packed_from_its_source(tmp_path: Path) -> None:
    package = tmp_path / "ctp_standin"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__pycache__" / "x.pyc").write_bytes(b"")
    (package / "__main__.py").write_text("")
    assert list(distribution.files(str(tmp_path))) == ["ctp_standin/__main__.py"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.jar", None, "there is no such file"),
        ("text.jar", b"hello", "neither an installer"),
    ],
)
def test_what_is_no_distribution_is_refused(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(distribution.DistributionError, match=words) as refused:
        distribution.files(str(tmp_path / name))
    assert name in str(refused.value)
    assert "Accepted" in str(refused.value)


def test_an_archive_without_ctp_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("README", b"")
    with pytest.raises(distribution.DistributionError, match="there is no CTP/libraries"):
        distribution.files(str(tmp_path / "other.zip"))


def test_the_checksum_follows_content_and_names(tmp_path: Path) -> None:
    make(tmp_path, "directory")
    before = distribution.checksum(str(tmp_path))
    assert distribution.checksum(str(tmp_path)) == before
    (tmp_path / "CTP/pages/list.xsl").rename(tmp_path / "CTP/pages/other.xsl")
    assert distribution.checksum(str(tmp_path)) != before
