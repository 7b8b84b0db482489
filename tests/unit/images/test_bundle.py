"""What a bundle promises, and what is refused before a machine is touched."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.images import bundle

MANIFEST: dict[str, Any] = {
    "format": bundle.FORMAT,
    "architecture": "amd64",
    "images": [{"name": "auscat-imaging/keydb:f0e366475e35", "id": "sha256:1"}],
    "packages": {"bookworm": [{"name": "docker.io"}, {"name": "nftables"}]},
}


def write(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_checksum_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar"
    file.write_bytes(b"x" * 3_000_000)
    digest = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert bundle.sha256(file) == digest
    for accepted in (digest, digest.upper(), f"sha256:{digest}", f" {digest}\n", ""):
        bundle.check(file, accepted)
    with pytest.raises(bundle.BundleError, match=f"has the SHA-256 {digest}. Accepted: 000"):
        bundle.check(file, "0" * 64)


@pytest.mark.parametrize("text", ["abc", "0" * 63, "md5:" + "0" * 32, "g" * 64])
def test_what_is_no_checksum(text: str) -> None:
    with pytest.raises(bundle.BundleError, match=r"images_archive_checksum is .* 64 hex digits"):
        bundle.wished_checksum(text)


def test_manifest_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "b.tar", {"manifest.json": json.dumps(MANIFEST).encode(), "x": b""})
    with tarfile.open(file) as archive:
        assert bundle.read_manifest(archive) == MANIFEST


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "is no offline bundle"),
        ({"images.tar.gz": b"", "manifest.json": b"{}"}, r"does not begin with manifest\.json"),
        ({"manifest.json": b'{"format": 99}'}, r"has the format 99\. Accepted: 1"),
    ],
)
def test_what_is_no_bundle(tmp_path: Path, members: dict[str, bytes], says: str) -> None:
    file = write(tmp_path / "b.tar", members)
    with tarfile.open(file) as archive, pytest.raises(bundle.BundleError, match=says):
        bundle.read_manifest(archive)


def test_packages_that_are_there() -> None:
    bundle.packages_of(MANIFEST, "bookworm", "amd64", ["docker.io"])


@pytest.mark.parametrize(
    ("suite", "architecture", "names", "says"),
    [
        ("trixie", "amd64", [], "no packages for trixie, only for bookworm.*bundle_suites"),
        ("bookworm", "arm64", [], "made for amd64, this machine is arm64"),
        (
            "bookworm",
            "amd64",
            ["xfsprogs", "docker.io"],
            "lacks the packages xfsprogs for bookworm",
        ),
    ],
)
def test_packages_that_are_not(suite: str, architecture: str, names: list[str], says: str) -> None:
    with pytest.raises(bundle.BundleError, match=says):
        bundle.packages_of(MANIFEST, suite, architecture, names)


def test_images() -> None:
    name = "auscat-imaging/keydb:f0e366475e35"
    assert bundle.images_of(MANIFEST, [name]) == {name: "sha256:1"}
    with pytest.raises(
        bundle.BundleError, match="lacks the images auscat/orthanc; it has auscat-im"
    ):
        bundle.images_of(MANIFEST, ["auscat/orthanc", name])


def test_nothing_leaves_the_directory(tmp_path: Path) -> None:
    members = {
        "manifest.json": b"{}",
        "packages/bookworm/a.deb": b"a",
        "packages/bookworm/deeper/b.deb": b"b",
        "packages/bookworm/../../etc/c.deb": b"c",
        "packages/trixie/d.deb": b"d",
    }
    target = tmp_path / "target"
    target.mkdir()
    with tarfile.open(write(tmp_path / "b.tar", members)) as archive:
        written = bundle.extract(archive, "packages/bookworm", target)
    assert [path.name for path in written] == ["a.deb"]
    assert sorted(path.name for path in tmp_path.rglob("*.deb")) == ["a.deb"]


def test_index_of_a_repository(tmp_path: Path) -> None:
    file = tmp_path / "a_1_all.deb"
    file.write_bytes(b"12345")
    control = "Package: a\nVersion: 1\nDescription: x\n more\n"
    text = bundle.index([(control, file, "ab"), (control, file, "cd")])
    first, second = text.split("\n\n")
    assert first == f"{control}Filename: ./a_1_all.deb\nSize: 5\nSHA256: ab"
    assert "SHA256: cd" in second
    assert (bundle.field(control, "Version"), bundle.field(control, "Depends")) == ("1", "")
