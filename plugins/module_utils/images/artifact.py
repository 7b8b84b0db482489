"""The archive of this collection, made again from where it is installed.

A checkout is packed by ``ansible-galaxy collection build``, from the list in ``galaxy.yml``. An
installed collection has no ``galaxy.yml``; it has ``MANIFEST.json`` and ``FILES.json``, which name
its files and their digests. What they name is packed as it was, and nothing that lies beside it.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

DESCRIPTION = "galaxy.yml"
MANIFEST = "MANIFEST.json"


class ArtifactError(RuntimeError):
    """An installed collection cannot be packed; the text says why, and what to do."""


def is_checkout(directory: Path) -> bool:
    """Tell whether a collection is a checkout, and no installed one."""
    return (directory / DESCRIPTION).exists()


def pack(installed: Path, target: Path) -> Path:
    """Pack an installed collection as it was packed when it was released.

    Args:
        installed: the directory with ``MANIFEST.json``.
        target: the directory to write to.

    Returns:
        The archive ``<namespace>-<name>-<version>.tar.gz``, which ansible-galaxy installs.

    Raises:
        ArtifactError: a file of the collection is missing or not what it was.
    """
    manifest = _read(installed / MANIFEST, None)
    described = json.loads(manifest)
    listed = described["file_manifest_file"]
    files = _read(installed / listed["name"], listed["chksum_sha256"])
    information = described["collection_info"]
    archive = target / "{namespace}-{name}-{version}.tar.gz".format(**information)
    with tarfile.open(archive, "w:gz") as packed:
        _add(packed, MANIFEST, manifest, 0o644)
        _add(packed, listed["name"], files, 0o644)
        for entry in json.loads(files)["files"]:
            _add_entry(packed, installed, entry)
    return archive


def _add_entry(packed: tarfile.TarFile, installed: Path, entry: dict[str, Any]) -> None:
    name = str(entry["name"])
    if name == ".":
        return
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise ArtifactError(_damaged(installed, f"its list names {name!r}, which is outside of it"))
    if entry["ftype"] == "dir":
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        packed.addfile(member)
        return
    path = installed / name
    content = _read(path, entry["chksum_sha256"])
    _add(packed, name, content, 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _add(packed: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    packed.addfile(member, io.BytesIO(content))


def _read(path: Path, digest: str | None) -> bytes:
    """Return the content of a file, which has to have this SHA-256."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(_damaged(path.parent, str(error))) from error
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise ArtifactError(
            _damaged(path.parent, f"{path} is not what it was when it was installed")
        )
    return content


def _damaged(place: Path, reason: str) -> str:
    return (
        f"The collection in {place} cannot be packed: {reason}. Accepted: an installed collection "
        "whose files are as they were installed, or a checkout. Install it again with "
        "ansible-galaxy collection install --force, and keep files of the site outside of it."
    )
