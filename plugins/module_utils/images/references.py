"""Names of container images: their parts, and the name under which a service runs one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.auscat.imaging.plugins.module_utils.inventory.definitions import changed

#: Images that this project builds are called ``auscat-imaging/<name>:<digest of their inputs>``.
OWN = "auscat-imaging/"
#: What was renamed by its makers: the old name gets no updates any more. All tags of osimis/orthanc
#: up to February 2024 were copied to the new name (Orthanc Book, "orthancteam/orthanc Docker
#: images").
SUCCESSORS = {"osimis/orthanc": "orthancteam/orthanc"}
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class ImageNameError(ValueError):
    """A text names no image; it says what is accepted."""


class Reference(NamedTuple):
    """The parts of an image's name: ``name[:tag][@digest]``; tag and digest may be empty."""

    name: str
    tag: str
    digest: str

    @property
    def registry(self) -> str:
        """Host and port of the registry, or an empty text for the engine's own default."""
        first, slash, _ = self.name.partition("/")
        is_host = slash and ("." in first or ":" in first or first == "localhost")
        return first if is_host else ""

    @property
    def is_own(self) -> bool:
        """Whether this project builds it."""
        return self.name.startswith(OWN)

    def __str__(self) -> str:
        """Put the parts together again."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse(text: str) -> Reference:
    """Take a name apart.

    Raises:
        ImageNameError: the text is no name of an image, or its digest is no SHA-256.
    """
    rest, _, digest = text.partition("@")
    head, slash, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    name = f"{head}{slash}{last}"
    if (
        not re.match(r"[a-z0-9]([a-z0-9._:/-]*[a-z0-9])?\Z", name)
        or ("@" in text and not DIGEST.match(digest))
        or (tag and not re.match(r"\w[\w.-]{0,127}\Z", tag))
    ):
        raise ImageNameError(
            f"{text!r} names no image. Accepted: name, name:tag or name@sha256:<64 hex digits>, "
            "such as registry.example/orthanc@sha256:…"
        )
    return Reference(name, tag, digest)


def successor(text: str) -> str:
    """Return the name that the makers of an image use today; the same text where none changed.

    Tag and digest are kept: the same images stand under the new name.
    """
    reference = parse(text)
    return str(reference._replace(name=SUCCESSORS.get(reference.name, reference.name)))


def archived(text: str) -> str:
    """Return the name under which an offline bundle carries an image.

    Loading an image does not give it the digest under which a registry knows it, so an image that
    is pinned by digest is carried under a tag that holds the first 12 digits of that digest.
    """
    reference = parse(text)
    if not reference.digest:
        return text
    tag = f"{reference.tag[:100]}-" if reference.tag else ""
    return str(Reference(reference.name, f"{tag}{reference.digest[7:19]}", ""))


def runnable(definitions: Iterable[Mapping[str, Any]], source: str) -> list[dict[str, Any]]:
    """Return service definitions with the images' names as the engine of the machine knows them.

    Args:
        definitions: the services of a host.
        source: images_source.

    Raises:
        ImageNameError: an image's name is none; the text names the service.
    """
    result = []
    for definition in definitions:
        try:
            image = successor(str(definition["image"]))
            image = archived(image) if source == "archive" else image
        except ImageNameError as error:
            raise ImageNameError(f"{definition.get('name')}_image: {error}") from error
        result.append(changed(definition, image=image))
    return result


def renamed(references: Iterable[str]) -> list[str]:
    """Return one warning for each image that its makers renamed."""
    return [
        f"{text} is no longer updated by its makers (since February 2024): {successor(text)} is "
        "what replaced it, and what runs. Write that name in the inventory."
        for text in references
        if successor(text) != text
    ]
