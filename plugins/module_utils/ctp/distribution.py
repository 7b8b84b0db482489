"""The CTP that the operator has downloaded: an installer, an archive or a directory.

None of CTP's code is part of this project. What is packed here is what the operator names, and
nothing but the ``CTP/`` directory in it. Runs on the controller.

The file is also a program that the role ``ctp`` runs there::

    python ctp_distribution.py SOURCE OUTPUT.tar
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

#: What makes a directory an installation of CTP.
MARK = "libraries/CTP.jar"
#: Our stand-in's source in the place of CTP: a package, which the supervisor runs.
STANDIN_MARK = "ctp_standin/__main__.py"
#: Left out: programs for other systems, and what an earlier run left behind.
LEFT_OUT = ("windows/", "logs/", "roots/", "quarantines/", "config.xml", "users.xml")


class DistributionError(ValueError):
    """What is named is no distribution of CTP; the text names the variable and the remedy."""


def checksum(source: str) -> str:
    """Return the SHA-256 of a file, or of all files of a directory and their names.

    Raises:
        DistributionError: there is no such file or directory.
    """
    path = _existing(source)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for name, content in _directory_files(path):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def files(source: str) -> dict[str, bytes]:
    """Return the files of the installation, by their paths below ``CTP/``.

    Raises:
        DistributionError: there is no installation of CTP in it.
    """
    path = _existing(source)
    if path.is_file() and not zipfile.is_zipfile(path):
        raise _refusal(source, "which is neither an installer (a jar) nor a zip archive")
    found = dict(_archive_files(path) if path.is_file() else _directory_files(path))
    for mark in (MARK, STANDIN_MARK):
        roots = sorted(
            (name[: -len(mark)] for name in found if name == mark or name.endswith("/" + mark)),
            key=len,
        )
        if roots:
            inside = {
                name[len(roots[0]) :]: content
                for name, content in found.items()
                if name.startswith(roots[0])
            }
            return {
                name: content
                for name, content in inside.items()
                if not name.startswith(LEFT_OUT) and "__pycache__" not in name
            }
    raise _refusal(source, f"in which there is no CTP/{MARK}")


def pack(source: str, output: Path) -> None:
    """Write the installation as a tar archive, the same for the same files."""
    with tarfile.open(output, "w") as archive:
        for name, content in sorted(files(source).items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    if not source or not path.exists():
        raise _refusal(source, "and there is no such file or directory on this machine")
    return path


def _refusal(source: str, why: str) -> DistributionError:
    return DistributionError(
        f"ctp_distribution is {source!r}, {why}. Accepted: the installer of CTP that RSNA offers "
        "for download (CTP-installer.jar), a zip archive or a directory that holds CTP/, on the "
        "machine that runs ansible-playbook; or 'standin' outside production. See docs/ctp.md."
    )


def _archive_files(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = posixpath.normpath(member.filename)
            if not member.is_dir() and not posixpath.isabs(name) and not name.startswith(".."):
                yield name, archive.read(member)


def _directory_files(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file.relative_to(path).as_posix(), file.read_bytes()


def main() -> None:
    """Pack a distribution from the command line."""
    if len(sys.argv) != 3:
        sys.exit("Give the distribution and the archive to write.")
    try:
        pack(sys.argv[1], Path(sys.argv[2]))
    except DistributionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
