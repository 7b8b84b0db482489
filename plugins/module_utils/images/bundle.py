"""The offline bundle: one tar file with all that a machine without a network needs.

::

    manifest.json                      what is in it: versions, names, digests (always first)
    images.tar.gz                      the images, as ``docker save`` writes them
    packages/<suite>/Packages          index of the Debian packages, for apt
    packages/<suite>/<name>.deb
    controller/<name>.whl, .tar.gz     Python packages of the controller, and this project

The manifest is the first member, so that it can be read without reading the rest.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

FORMAT = 1
MANIFEST = "manifest.json"
IMAGES = "images.tar.gz"
CHUNK = 1024 * 1024


class BundleError(RuntimeError):
    """A bundle cannot be written or used; the text says which, why, and what to do."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            total.update(block)
    return total.hexdigest()


def wished_checksum(text: str) -> str:
    """Return a checksum in the form that `sha256` gives; an empty text stays one.

    Raises:
        BundleError: it is none.
    """
    plain = text.strip().lower()
    plain = plain[7:] if plain.startswith("sha256:") else plain
    if plain and not re.match(r"[0-9a-f]{64}\Z", plain):
        raise BundleError(
            f"images_archive_checksum is {text!r}. Accepted: the 64 hex digits that "
            "playbooks/bundle.yml showed. Correct it in the inventory."
        )
    return plain


def check(path: Path, checksum: str) -> None:
    """Compare a bundle with its checksum, where there is one.

    Raises:
        BundleError: they differ.
    """
    wished = wished_checksum(checksum)
    found = sha256(path) if wished else ""
    if found != wished:
        raise BundleError(
            f"{path} has the SHA-256 {found}. Accepted: {wished} (images_archive_checksum). "
            "The file was damaged or exchanged underway: copy it again from where it was made, or "
            "set the checksum that playbooks/bundle.yml showed for this file. Nothing was changed."
        )


def read_manifest(bundle: tarfile.TarFile) -> dict[str, Any]:
    """Return the manifest of an opened bundle.

    Raises:
        BundleError: the file is no bundle, or one of another version of the project.
    """
    first = bundle.next()
    file = bundle.extractfile(first) if first is not None and first.name == MANIFEST else None
    if file is None:
        raise BundleError(
            f"{bundle.name!r} is no offline bundle: it does not begin with {MANIFEST}. Set "
            "images_archive to a file that playbooks/bundle.yml wrote."
        )
    manifest: dict[str, Any] = json.load(file)
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"{bundle.name!r} has the format {manifest.get('format')!r}. Accepted: {FORMAT}. Make "
            "the bundle with the version of the project that deploys it."
        )
    return manifest


def packages_of(
    manifest: Mapping[str, Any], suite: str, architecture: str, names: Iterable[str]
) -> None:
    """Check that a bundle has the Debian packages for a machine.

    Raises:
        BundleError: it has none for this suite or architecture, or lacks one of the names.
    """
    made_for = manifest["architecture"]
    if made_for != architecture:
        raise BundleError(
            f"The bundle was made for {made_for}, this machine is {architecture}. Make it on a "
            f"machine with the architecture {architecture}."
        )
    packages = manifest["packages"].get(suite)
    if packages is None:
        raise BundleError(
            f"The bundle has no packages for {suite}, only for "
            f"{', '.join(sorted(manifest['packages'])) or 'no release at all'}. Add {suite} to "
            "bundle_suites and run playbooks/bundle.yml again."
        )
    lacking = sorted(set(names) - {package["name"] for package in packages})
    if lacking:
        raise BundleError(
            f"The bundle lacks the packages {', '.join(lacking)} for {suite}. Run "
            "playbooks/bundle.yml again with the inventory that is deployed."
        )


def images_of(manifest: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Return name and image ID of the images that a machine needs.

    Raises:
        BundleError: the bundle lacks one.
    """
    held = {image["name"]: image["id"] for image in manifest["images"]}
    lacking = sorted(set(names) - held.keys())
    if lacking:
        raise BundleError(
            f"The bundle lacks the images {', '.join(lacking)}; it has {', '.join(sorted(held))}. "
            "It was made from another version of the project or for other settings "
            "(<service>_image, images_refresh): run playbooks/bundle.yml again with the inventory "
            "that is deployed."
        )
    return {name: held[name] for name in names}


def extract(bundle: tarfile.TarFile, folder: str, directory: Path) -> list[Path]:
    """Write the plain files directly below a folder of the bundle into a directory.

    Only the last part of a member's name is used, so that none can leave the directory.
    """
    written = []
    for member in bundle:
        path = PurePosixPath(member.name)
        if member.isfile() and str(path.parent) == folder:
            source = bundle.extractfile(member)
            if source is not None:
                target = directory / path.name
                with target.open("wb") as file:
                    copy(source, file)
                target.chmod(0o644)
                written.append(target)
    return written


def copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy one open file into another."""
    while block := source.read(CHUNK):
        target.write(block)


def index(entries: Iterable[tuple[str, Path, str]]) -> str:
    """Return the index of a local apt repository.

    Args:
        entries: for each package its control fields (``dpkg-deb --field``), its file, its SHA-256.
    """
    stanzas = []
    for control, path, digest in entries:
        stanzas.append(
            f"{control.strip()}\nFilename: ./{path.name}\nSize: {path.stat().st_size}\n"
            f"SHA256: {digest}\n"
        )
    return "\n".join(stanzas)


def field(control: str, name: str) -> str:
    """Return one field of a package's control data, or an empty text."""
    found = re.search(rf"^{name}: (.*)$", control, re.MULTILINE)
    return found[1].strip() if found else ""
