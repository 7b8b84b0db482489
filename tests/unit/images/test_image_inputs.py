"""The names of images follow from their inputs, and only from them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.images.inputs import (
    ImageError,
    describe_images,
    given_file,
    pack,
)

OWN_IMAGES = Path(__file__).resolve().parents[3] / "images"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images: base, app on base, tool on app."""
    write(tmp_path / "base/image.yml", "{kind: mmdebstrap, suite: trixie, packages: [tzdata]}")
    write(tmp_path / "base/build.sh", "true")
    write(tmp_path / "app/image.yml", "{kind: dockerfile, base: base, title: The app}")
    write(tmp_path / "app/Dockerfile", "ARG BASE\nFROM ${BASE}\n")
    write(tmp_path / "app/src/main.py", "print()")
    write(tmp_path / "tool/image.yml", "{kind: dockerfile, base: app}")
    write(tmp_path / "tool/Dockerfile", "ARG BASE\nFROM ${BASE}\n")
    return tmp_path


def refs(images: Path, **options: Any) -> dict[str, str]:
    return {name: image["ref"] for name, image in describe_images(images, **options).items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]}


def test_description(images: Path) -> None:
    described = describe_images(images)
    assert list(described) == ["base", "app", "tool"]
    app = described["app"]
    digest = app["ref"].removeprefix("auscat-imaging/app:")
    assert len(digest) == 12
    assert set(digest) <= set("0123456789abcdef")
    assert app == {
        "name": "app",
        "ref": f"auscat-imaging/app:{digest}",
        "archive": f"app-{digest}.tar",
        "title": "The app",
        "kind": "dockerfile",
        "base": "base",
        "lineage": ["base", "app"],
        "wheels": False,
        "shared": [],
        "suite": "",
        "packages": [],
        "file": {},
        "path": str(images / "app"),
    }
    assert described["tool"]["lineage"] == ["base", "app", "tool"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda i: write(i / "base/build.sh", "false"), {"base", "app", "tool"}),
        (lambda i: write(i / "app/src/main.py", "print(1)"), {"app", "tool"}),
        (lambda i: write(i / "app/src/new.py", ""), {"app", "tool"}),
        (lambda i: (i / "app/src/main.py").rename(i / "app/src/other.py"), {"app", "tool"}),
        (lambda i: (i / "app/src/main.py").chmod(0o755), {"app", "tool"}),
        (lambda i: write(i / "tool/image.yml", "{kind: dockerfile, base: base}"), {"tool"}),
        # No inputs:
        (lambda i: (i / "app/src/main.py").chmod(0o600), set()),
        (lambda i: os.utime(i / "app/Dockerfile", (1, 1)), set()),
        (lambda i: write(i / "app/wheels/pydicom-3.0.1-py3-none-any.whl", "x"), set()),
        (lambda i: write(i / "app/src/__pycache__/main.cpython-313.pyc", "x"), set()),
        (lambda i: write(i / "app/src/main.py~", "x"), set()),
        (lambda i: write(i / "README.md", "x"), set()),
        (lambda i: write(i / "notes/README.md", "x"), set()),
        # Only wheels/ beside image.yml is one; a package may be called so.
        (lambda i: write(i / "app/src/wheels/__init__.py", "x"), {"app", "tool"}),
    ],
)
def test_names_follow_from_the_inputs(
    images: Path, change: Callable[[Path], object], expected: set[str]
) -> None:
    before = refs(images)
    change(images)
    assert changed(before, refs(images)) == expected


def test_refresh_renames_all_images(images: Path) -> None:
    assert changed(refs(images), refs(images, refresh="2026-11")) == {"base", "app", "tool"}


def test_names_do_not_depend_on_the_place(images: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(images, copy, ignore=shutil.ignore_patterns("elsewhere"))
    assert refs(copy) == refs(images)


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("app/image.yml", "[]", r"app/image\.yml is no mapping"),
        ("app/image.yml", "{kind: nix}", "kind is 'nix'. Accepted: mmdebstrap, dockerfile"),
        ("app/image.yml", "{kind: dockerfile}", "lacks base"),
        ("app/image.yml", "{kind: mmdebstrap, suite: trixie}", "lacks suite and packages"),
        ("app/image.yml", "{kind: dockerfile, base: bse}", "'bse'. Accepted: app, base, tool"),
        ("app/image.yml", "{kind: dockerfile, base: tool}", "app from tool from app"),
        ("app/image.yml", "{kind: dockerfile, bases: base}", "unknown keys bases"),
        (
            "app/image.yml",
            "{kind: dockerfile, base: base, file: x}",
            "file is 'x'. Accepted: get, ",
        ),
        (
            "app/image.yml",
            "{kind: dockerfile, base: base, file: {name: x, sha512: y}}",
            "Accepted: get, name, sha512, variable",
        ),
    ],
)
def test_wrong_descriptions_are_refused(images: Path, file: str, content: str, error: str) -> None:
    write(images / file, content)
    with pytest.raises(ImageError, match=error):
        describe_images(images)


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nowhere is no directory"):
        describe_images(tmp_path / "nowhere")


def test_archive_does_not_depend_on_this_machine(images: Path, tmp_path: Path) -> None:
    (images / "app/Dockerfile").chmod(0o600)
    write(images / "app/entry.sh", "true")
    (images / "app/entry.sh").chmod(0o700)
    write(images / "app/__pycache__/x.pyc", "x")
    pack([images / "app"], tmp_path / "cache", tmp_path / "first.tar")
    os.utime(images / "app/Dockerfile", (1, 1))
    pack([images / "app"], tmp_path / "cache", tmp_path / "second.tar")
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    with tarfile.open(tmp_path / "first.tar") as archive:
        members = {member.name: (oct(member.mode), member.uid) for member in archive}
    assert members == {
        "app/Dockerfile": ("0o644", 0),
        "app/entry.sh": ("0o755", 0),
        "app/image.yml": ("0o644", 0),
        "app/src/main.py": ("0o644", 0),
    }


def test_packing_names_what_is_missing(images: Path, tmp_path: Path) -> None:
    write(images / "app/image.yml", "{kind: dockerfile, base: base, wheels: true}")
    with pytest.raises(ImageError, match=r"needs the file wheels\.txt"):
        pack([images / "app"], tmp_path / "cache", tmp_path / "app.tar")


def test_packages_come_from_the_cache(images: Path, tmp_path: Path) -> None:
    """What was downloaded for a wheels.txt is not downloaded again: no index is asked."""
    requirements = "pydicom==0.0.0 --hash=sha256:" + "0" * 64
    write(images / "app/image.yml", "{kind: dockerfile, base: base, wheels: true}")
    write(images / "app/wheels.txt", requirements)
    cached = tmp_path / "cache" / hashlib.sha256(requirements.encode()).hexdigest()[:12]
    write(cached / "pydicom-0.0.0-py3-none-any.whl", "wheel")
    pack([images / "app"], tmp_path / "cache", tmp_path / "app.tar")
    with tarfile.open(tmp_path / "app.tar") as archive:
        assert "app/wheels/pydicom-0.0.0-py3-none-any.whl" in archive.getnames()


def test_failed_download_leaves_no_cache(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(images / "app/image.yml", "{kind: dockerfile, base: base, wheels: true}")
    write(images / "app/wheels.txt", "nothing==1 --hash=sha256:" + "0" * 64)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ImageError, match=r"(?s)could not download.*nothing.*auscat_https_proxy"):
        pack([images / "app"], tmp_path / "cache", tmp_path / "app.tar")
    assert list((tmp_path / "cache").iterdir()) == []


def test_own_images_are_described() -> None:
    described = describe_images(OWN_IMAGES)
    assert next(iter(described)) == "base"
    plain = {"front", "orthanc", "keydb", "ctp_rsna", "ctp_standin"}
    assert set(described) == {"base", *plain, "front_ohif"}
    assert all(described[name]["base"] == "base" for name in plain)
    assert described["front_ohif"]["lineage"] == ["base", "front", "front_ohif"]
    assert {name for name, image in described.items() if image["file"]} == {"front_ohif"}


CONTENT = "what the operator brings"
GIVEN = {
    "name": "app.tgz",
    "variable": "app_archive",
    "get": "npm pack app@1",
    "sha512": hashlib.sha512(CONTENT.encode()).hexdigest(),
}


def test_given_file_is_packed_under_its_name(images: Path, tmp_path: Path) -> None:
    write(
        images / "app/image.yml", json.dumps({"kind": "dockerfile", "base": "base", "file": GIVEN})
    )
    write(tmp_path / "elsewhere/some name.tgz", CONTENT)
    given = {"app": str(tmp_path / "elsewhere/some name.tgz")}
    pack([images / "app"], tmp_path / "cache", tmp_path / "app.tar", given)
    with tarfile.open(tmp_path / "app.tar") as archive:
        packed = archive.extractfile("app/app.tgz")
        assert packed is not None
        assert packed.read().decode() == CONTENT


def test_given_file_has_no_part_in_the_name_but_its_checksum(images: Path) -> None:
    image = {"kind": "dockerfile", "base": "base", "file": GIVEN}
    write(images / "app/image.yml", json.dumps(image))
    before = refs(images)
    write(images / "app/image.yml", json.dumps({**image, "file": {**GIVEN, "sha512": "0" * 128}}))
    assert changed(before, refs(images)) == {"app", "tool"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"app_archive is '.*app\.tgz', where there is no file\. Accepted: .*npm pack app@1"),
        (
            "another",
            r"has the SHA-512 [0-9a-f]{128}\. Accepted: .*" + GIVEN["sha512"] + ".*npm pack",
        ),
    ],
)
def test_wrong_given_file_is_refused(
    images: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    write(
        images / "app/image.yml", json.dumps({"kind": "dockerfile", "base": "base", "file": GIVEN})
    )
    file = tmp_path / "app.tgz"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ImageError, match=said):
        given_file(GIVEN, str(file))
    with pytest.raises(ImageError, match=said):
        pack([images / "app"], tmp_path / "cache", tmp_path / "app.tar", {"app": str(file)})


def test_file_that_was_exchanged_is_looked_at_again(tmp_path: Path) -> None:
    file = tmp_path / "app.tgz"
    file.write_text(CONTENT)
    assert given_file(GIVEN, str(file)) == file
    file.write_text(CONTENT.upper())
    os.utime(file, (1, 1))
    with pytest.raises(ImageError, match="has the SHA-512"):
        given_file(GIVEN, str(file))


def test_missing_variable_says_how_to_get_the_file(images: Path, tmp_path: Path) -> None:
    write(
        images / "app/image.yml", json.dumps({"kind": "dockerfile", "base": "base", "file": GIVEN})
    )
    with pytest.raises(
        ImageError, match=r"app_archive is empty\. Accepted: the path .*npm pack app@1"
    ):
        pack([images / "app"], tmp_path / "cache", tmp_path / "app.tar")
