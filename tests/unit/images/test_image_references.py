"""Names of images: their parts, their successors, and what a bundle calls them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.images.references import (
    ImageNameError,
    archived,
    parse,
    renamed,
    runnable,
    successor,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "name", "tag", "digest", "registry"),
    [
        ("auscat/orthanc", "auscat/orthanc", "", "", ""),
        ("auscat-imaging/orthanc:7c7e0be66800", "auscat-imaging/orthanc", "7c7e0be66800", "", ""),
        (f"auscat/orthanc@{DIGEST}", "auscat/orthanc", "", DIGEST, ""),
        (f"r.example:5000/a/b:1.2@{DIGEST}", "r.example:5000/a/b", "1.2", DIGEST, "r.example:5000"),
        ("localhost/a", "localhost/a", "", "", "localhost"),
        ("postgres:17", "postgres", "17", "", ""),
        ("10.0.0.1:5000/a", "10.0.0.1:5000/a", "", "", "10.0.0.1:5000"),
    ],
)
def test_parts(text: str, name: str, tag: str, digest: str, registry: str) -> None:
    reference = parse(text)
    assert (reference.name, reference.tag, reference.digest) == (name, tag, digest)
    assert reference.registry == registry
    assert str(reference) == text
    assert reference.is_own == text.startswith("auscat-imaging/")


@pytest.mark.parametrize(
    "text", ["", "Auscat/Orthanc", "a b", "a@sha256:12", "a@", "a:b/c:d e", "-a", f"a@x{DIGEST}"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ImageNameError, match="Accepted: name, name:tag or name@sha256"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("osimis/orthanc", "orthancteam/orthanc"),
        ("osimis/orthanc:23.12.1", "orthancteam/orthanc:23.12.1"),
        (f"osimis/orthanc@{DIGEST}", f"orthancteam/orthanc@{DIGEST}"),
        ("osimis/orthanc-builder", "osimis/orthanc-builder"),
        ("mirror.example/osimis/orthanc", "mirror.example/osimis/orthanc"),
        ("auscat/orthanc", "auscat/orthanc"),
    ],
)
def test_successors(text: str, expected: str) -> None:
    assert successor(text) == expected
    assert bool(renamed([text])) == (text != expected)


def test_warning_names_both() -> None:
    (warning,) = renamed(["osimis/orthanc:22.6.1", "postgres:17"])
    assert "osimis/orthanc:22.6.1" in warning
    assert "orthancteam/orthanc:22.6.1" in warning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auscat-imaging/orthanc:7c7e0be66800", "auscat-imaging/orthanc:7c7e0be66800"),
        ("auscat/orthanc", "auscat/orthanc"),
        (f"auscat/orthanc@{DIGEST}", "auscat/orthanc:0123456789ab"),
        (f"r.example:5000/o:1.2@{DIGEST}", "r.example:5000/o:1.2-0123456789ab"),
    ],
)
def test_names_in_a_bundle(text: str, expected: str) -> None:
    assert archived(text) == expected
    assert len(parse(archived(text.replace("1.2", "1" * 120))).tag) <= 128


def test_definitions_get_names_that_the_engine_knows() -> None:
    definitions: list[dict[str, Any]] = [
        {"name": "orthanc", "image": f"osimis/orthanc@{DIGEST}", "ports": []},
        {"name": "keydb", "image": "auscat-imaging/keydb:f0e366475e35"},
    ]
    pulled = runnable(definitions, "registry")
    assert pulled[0] == {**definitions[0], "image": f"orthancteam/orthanc@{DIGEST}"}
    assert pulled[1] == definitions[1]
    assert runnable(definitions, "archive")[0]["image"] == "orthancteam/orthanc:0123456789ab"


def test_a_bad_name_names_its_variable() -> None:
    with pytest.raises(ImageNameError, match=r"orthanc_image: 'Bad Name' names no image"):
        runnable([{"name": "orthanc", "image": "Bad Name"}], "registry")
