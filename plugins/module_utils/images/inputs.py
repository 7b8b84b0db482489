"""What each image of the project is made of, and the name that follows from it.

An image is a directory below images/ with an ``image.yml``. Its name ends in a digest of
everything that goes into it, so an image exists or it does not: it is never out of date, and two
machines that build it agree on its name. Runs on the controller only (needs PyYAML).

The file is also a program that the role ``images`` runs on the controller::

    python inputs.py [--file IMAGE=PATH] OUTPUT.tar CACHE IMAGE_DIRECTORY...
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import ssl
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

try:
    import yaml
except ModuleNotFoundError:
    # The controller alone calls this, and has it; a managed machine need not.
    yaml = None  # type: ignore[assignment]

REPOSITORY = "auscat-imaging"
DESCRIPTION = "image.yml"
REQUIREMENTS = "wheels.txt"
WHEELS = "wheels"
# Below the directory of the images, and below that of each image that holds some of it.
SHARED = "shared"
DIGEST_LENGTH = 12
KINDS = ("mmdebstrap", "dockerfile")
FILE_KEYS = frozenset({"name", "variable", "sha512", "get"})
# Environment variable with further CA certificates in PEM, for pip.
EXTRA_CERTIFICATES = "AUSCAT_CA_CERTIFICATES"
# Raise it when the way in which images are built changes what comes out of the same files.
RECIPE = 1
# What programs leave in a working copy and no image contains.
CACHES = frozenset(
    {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".git", ".DS_Store"}
)
CACHE_SUFFIXES = (".pyc", ".swp", "~")


class ImageError(ValueError):
    """An image cannot be described or packed; the text names the file and the remedy."""


def describe_images(images_dir: Path, refresh: str = "") -> dict[str, dict[str, Any]]:
    """Return the images below a directory, each after the image that it is built from.

    Args:
        images_dir: one directory per image, each with an ``image.yml``; others are passed over.
        refresh: any text; another text gives every image another name.

    Returns:
        image name to a mapping with the keys: name, ref (``auscat-imaging/<name>:<12 hex>``),
        title, kind (mmdebstrap or dockerfile), base (the image's name it is built from, or ""),
        lineage (the names of all images that it is built from, and its own, in that order),
        suite and packages (mmdebstrap only), wheels (whether ``wheels.txt`` is to be downloaded),
        shared (the directories of ``shared/`` that it holds),
        file (what the operator brings for it, see `given_file`, or nothing),
        path (its directory, as text), archive (the file that ``docker save`` would go to).

    Raises:
        ImageError: an ``image.yml`` is no such description, or images are built from one another in
            a circle.
    """
    if not images_dir.is_dir():
        raise ImageError(f"{images_dir} is no directory. Name the one that holds the images.")
    files = sorted(images_dir.glob(f"*/{DESCRIPTION}"))
    read = {file.parent.name: _description(file) for file in files}
    described: dict[str, dict[str, Any]] = {}

    def describe(name: str, users: tuple[str, ...]) -> None:
        if name in described:
            return
        if name in users:
            raise ImageError(f"Images are built from one another: {' from '.join((*users, name))}.")
        image = read[name]
        base = image["base"]
        if base and base not in read:
            raise ImageError(
                f"{name}/{DESCRIPTION}: base is {base!r}. Accepted: {', '.join(sorted(read))}."
            )
        if base:
            describe(base, (*users, name))
        below: dict[str, Any] = described[base] if base else {"ref": "", "lineage": []}
        digest = _digest(images_dir / name, image["shared"], below["ref"], refresh)
        described[name] = {
            **image,
            "ref": f"{REPOSITORY}/{name}:{digest}",
            "archive": f"{name}-{digest}.tar",
            "lineage": [*below["lineage"], name],
        }

    for name in sorted(read):
        describe(name, ())
    return described


def _description(file: Path) -> dict[str, Any]:
    """Read one image.yml, check it, and fill in what it leaves out."""
    name = file.parent.name
    where = f"{name}/{DESCRIPTION}"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(content, Mapping):
        raise ImageError(f"{where} is no mapping.")
    image: dict[str, Any] = {
        "title": name,
        "base": "",
        "wheels": False,
        "shared": [],
        "suite": "",
        "packages": [],
        "file": {},
        **content,
    }
    known = {"title", "kind", "base", "wheels", "shared", "suite", "packages", "file"}
    unknown = sorted(set(content) - known)
    if unknown:
        raise ImageError(f"{where} has the unknown keys {', '.join(unknown)}.")
    if image.get("kind") not in KINDS:
        raise ImageError(f"{where}: kind is {image.get('kind')!r}. Accepted: {', '.join(KINDS)}.")
    if image["kind"] == "mmdebstrap" and not (image["suite"] and image["packages"]):
        raise ImageError(f"{where} lacks suite and packages, which the kind mmdebstrap needs.")
    if image["kind"] == "dockerfile" and not image["base"]:
        raise ImageError(f"{where} lacks base, which the kind dockerfile needs.")
    for each in image["shared"]:
        if not (file.parent.parent / SHARED / each).is_dir():
            raise ImageError(
                f"{where}: shared names {each!r}, but there is no directory {SHARED}/{each} beside "
                f"{name}/."
            )
    given = image["file"]
    if given and (not isinstance(given, Mapping) or set(given) != FILE_KEYS):
        raise ImageError(f"{where}: file is {given!r}. Accepted: {', '.join(sorted(FILE_KEYS))}.")
    return {**image, "name": name, "path": str(file.parent)}


def given_file(file: Mapping[str, str], path: str) -> Path:
    """Return the file that the operator brings for an image, when it is the right one.

    Args:
        file: of ``image.yml``: name (what the Dockerfile calls it), variable (of the inventory,
            with its path), sha512 (hexadecimal), and get (a command that brings it).
        path: what the variable says: a path on the controller.

    Raises:
        ImageError: there is no such file, or it is another one; with variable and remedy.
    """
    variable = file["variable"]
    remedy = (
        f"Accepted: the path of the file on the machine that runs ansible-playbook. "
        f"`{file['get']}` brings it, on any machine with npm and a network."
    )
    if not path:
        raise ImageError(f"{variable} is empty. {remedy}")
    found = Path(path).expanduser()
    if not found.is_file():
        raise ImageError(f"{variable} is {path!r}, where there is no file. {remedy}")
    status = found.stat()
    checksum = _sha512(str(found.resolve()), status.st_size, status.st_mtime_ns)
    if checksum != file["sha512"]:
        raise ImageError(
            f"{variable} is {path!r}, which has the SHA-512 {checksum}. Accepted: the file with "
            f"{file['sha512']}. {remedy}"
        )
    return found


@lru_cache(maxsize=4)
def _sha512(path: str, size: int, changed: int) -> str:
    """Return the SHA-512 of a file; size and time of its change tell whether it is still known."""
    with Path(path).open("rb") as content:
        return hashlib.file_digest(content, "sha512").hexdigest()


def input_files(directory: Path, shared: Sequence[str] = ()) -> Iterator[tuple[str, Path]]:
    """Yield the files that an image is made of, as relative POSIX path and path, sorted.

    Args:
        directory: that of the image.
        shared: what it holds of the directory ``shared`` beside its own, as ``shared/NAME/…``.

    Left out: ``wheels/`` at the top, whose content ``wheels.txt`` fixes by hashes, and caches.
    """
    found = [*_files_below(directory)]
    for name in shared:
        for relative, path in _files_below(directory.parent / SHARED / name):
            found.append((f"{SHARED}/{name}/{relative}", path))
    yield from sorted(found)


def _files_below(directory: Path) -> Iterator[tuple[str, Path]]:
    for parent, directories, files in os.walk(directory):
        directories[:] = [
            each
            for each in directories
            if each not in CACHES and not (each == WHEELS and Path(parent) == directory)
        ]
        for each in files:
            if each not in CACHES and not each.endswith(CACHE_SUFFIXES):
                path = Path(parent) / each
                yield path.relative_to(directory).as_posix(), path


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def _digest(directory: Path, shared: Sequence[str], base: str, refresh: str) -> str:
    """Return the first hexadecimal digits of the SHA-256 over all inputs of an image."""
    total = hashlib.sha256(f"{RECIPE}\0{base}\0{refresh}\0".encode())
    for name, path in input_files(directory, shared):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{name}\0{int(_is_executable(path))}\0{content}\0".encode())
    return total.hexdigest()[:DIGEST_LENGTH]


def fetch_wheels(requirements: Path, cache: Path) -> Path:
    """Download the Python packages of a requirements file with hashes, once.

    pip runs here, on the controller: it knows the site's proxy and its certificates, and a
    container does not. Only pure Python packages for Python 3.13 (Debian 13) are taken; compiled
    ones come from Debian.

    Returns:
        The directory with the packages: below `cache`, named after the file's content.

    Raises:
        ImageError: pip is missing or fails.
    """
    complete = cache / hashlib.sha256(requirements.read_bytes()).hexdigest()[:DIGEST_LENGTH]
    if complete.is_dir():
        return complete
    if importlib.util.find_spec("pip") is None:
        raise ImageError(
            f"{sys.executable} has no pip, which downloads the packages of {requirements.name}. "
            "Install pip into the Python environment that runs Ansible."
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="incomplete-") as unfinished:
        trusted = []
        extra = os.environ.get(EXTRA_CERTIFICATES, "")
        if extra:
            # pip takes one file only, so the site's certificates are added to those of the system.
            usual = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
            known = Path(usual or os.devnull).read_text()
            Path(unfinished, "certificates.pem").write_text(f"{known}\n{extra}\n")
            trusted = ["--cert", f"{unfinished}/certificates.pem"]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download"),
                *("--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"),
                *("--python-version", "3.13", "--implementation", "py"),
                *("--requirement", str(requirements), "--dest", f"{unfinished}/wheels"),
                *trusted,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ImageError(
                f"pip could not download the packages of {requirements}:\n"
                f"{done.stdout.strip()[-1500:]}\n"
                "Let pip on this controller reach a package index (auscat_https_proxy, "
                "auscat_ca_certificates, PIP_INDEX_URL)."
            )
        try:
            Path(unfinished, "wheels").rename(complete)
        except OSError:
            # Another run was faster; the hashes make its packages the same.
            if not complete.is_dir():
                raise
    return complete


def pack(
    directories: Sequence[Path], cache: Path, output: Path, files: Mapping[str, str] | None = None
) -> None:
    """Write the files of images, and their Python packages under ``wheels/``, into a tar archive.

    The archive holds one directory per image. Owners and modes do not depend on this machine:
    root, 0644, and 0755 for what is executable.

    Args:
        directories: those of the images.
        cache: where downloaded Python packages are kept, see `fetch_wheels`.
        output: the archive.
        files: what the operator brings, by the name of the image, see `given_file`.

    Raises:
        ImageError: a file that image.yml promises is missing or another one, or the packages cannot
            be downloaded.
    """
    with tarfile.open(output, "w") as archive:
        for directory in directories:
            for name, path in _packed_files(directory, cache, files or {}):
                member = tarfile.TarInfo(f"{directory.name}/{name}")
                member.size = path.stat().st_size
                member.mode = 0o755 if _is_executable(path) else 0o644
                with path.open("rb") as content:
                    archive.addfile(member, content)


def _packed_files(directory: Path, cache: Path, given: Mapping[str, str]) -> list[tuple[str, Path]]:
    image = _description(directory / DESCRIPTION)
    promised = ["build.sh" if image["kind"] == "mmdebstrap" else "Dockerfile"]
    promised += [REQUIREMENTS] * image["wheels"]
    for name in promised:
        if not (directory / name).is_file():
            raise ImageError(f"{directory / DESCRIPTION} needs the file {name}, which is missing.")
    files = list(input_files(directory, image["shared"]))
    if image["wheels"]:
        wheels = fetch_wheels(directory / REQUIREMENTS, cache)
        files += [(f"{WHEELS}/{wheel.name}", wheel) for wheel in sorted(wheels.iterdir())]
    if image["file"]:
        files.append(
            (image["file"]["name"], given_file(image["file"], given.get(image["name"], "")))
        )
    return files


def main() -> None:
    """Pack images from the command line."""
    parser = argparse.ArgumentParser(description="Pack what images are built from.")

    def path(text: str) -> Path:
        return Path(text).expanduser()

    parser.add_argument("output", type=path, help="the tar archive to write")
    parser.add_argument("cache", type=path, help="directory for downloaded Python packages")
    parser.add_argument("images", type=path, nargs="+", help="the directories of the images")
    parser.add_argument("--file", action="append", default=[], help="IMAGE=PATH of its given file")
    parser.add_argument("--environment", type=path, help="a JSON file with variables for pip")
    arguments = parser.parse_args()
    if arguments.environment:
        os.environ.update(json.loads(arguments.environment.read_text()))
    try:
        given = dict(each.partition("=")[::2] for each in arguments.file)
        pack(arguments.images, arguments.cache, arguments.output, given)
    except ImageError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
